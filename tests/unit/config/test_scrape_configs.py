"""The section `scrape_configs` of the configuration file, in Prometheus's own form, and what is planned with it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prom_probe.config.planned_target import PlannedTarget, plan_targets
from prom_probe.config.secret import conceal_hook, reveal_hook
from prom_probe.config.settings import Config, shown_settings
from prom_probe.config.sources import find_config

WHOLE = """\
interval: 2s
interval.scrape: 5s
scrape: old=http://u:hunter2@h/x?token=hunter2
scrape_configs:
  - job_name: app
    scheme: https
    metrics_path: /m
    params: {format: [text], token: [hunter2]}
    scrape_interval: 3s
    scrape_timeout: 1s
    honor_labels: true
    honor_timestamps: false
    basic_auth: {username: me, password: hunter2}
    tls_config: {ca_file: ca.pem, server_name: other, insecure_skip_verify: true}
    http_headers:
      X-Team: {values: [blue]}
      X-Token: {secrets: [hunter2], files: [/run/token]}
    sample_limit: 5000
    label_limit: 30
    label_name_length_limit: 100
    label_value_length_limit: 200
    body_size_limit: 1MB
    metric_relabel_configs:
      - {source_labels: [__name__], regex: 'go_.*', action: drop}
    static_configs:
      - targets: ['a:9090', b]
        labels: {team: blue, shard: 1}
      - targets: ['[::1]:9']
        labels: {__scrape_interval__: 10s, __scrape_timeout__: 9s, __metrics_path__: /o, __scheme__: http, __param_x: y}
  - job_name: plain
    static_configs: [{targets: ['c:1']}]
"""


def read(tmp_path: Path, text: str) -> tuple[Config, list[str]]:
    file = tmp_path / "c.yml"
    file.write_text(text)
    config, faults = find_config({}, {}, file=str(file))
    return config, [fault.removeprefix(f"{file}: ") for fault in faults]


def planned(tmp_path: Path, text: str) -> dict[str, PlannedTarget]:
    config, faults = read(tmp_path, text)
    assert faults == []
    return {target.name: target for target in plan_targets(config)}


def test_a_target_is_what_its_job_says_and_its_labels(tmp_path: Path) -> None:
    """URL, labels, interval and timeout; labels with two underscores are no labels of its series."""
    found = planned(tmp_path, WHOLE)
    assert list(found) == ["old", "app/a:9090", "app/b", "app/[::1]:9", "plain/c:1"]
    one, two, three = (found[name] for name in ("app/a:9090", "app/b", "app/[::1]:9"))
    assert one.address.reveal() == "https://a:9090/m?format=text&token=hunter2"
    assert two.address.reveal() == "https://b:443/m?format=text&token=hunter2"
    assert three.address.reveal() == "http://[::1]:9/o?format=text&token=hunter2&x=y"
    assert two.labels == {"job": "app", "instance": "b", "team": "blue", "shard": "1"}
    assert three.labels == {"job": "app", "instance": "[::1]:9"}
    assert [(target.interval_s, target.timeout_s) for target in (one, three)] == [(3, 1), (10, 9)]
    old, plain = found["old"], found["plain/c:1"]
    assert (old.labels, old.interval_s, old.timeout_s) == ({"job": "old", "instance": "h:80"}, 5, 4.5)
    assert (plain.interval_s, plain.timeout_s, plain.settings.honor_timestamps) == (5, 4.5, True)
    assert one.settings.body_bytes == 1 << 20


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    """Neither the settings nor the URLs; a copy for another process has them all."""
    config, _ = read(tmp_path, WHOLE)
    shown = shown_settings(config)["scrape_configs"]
    assert '"job_name":"app"' in shown and '"blue"' in shown and '"password":"<secret>"' in shown
    urls = [target.shown_url for target in plan_targets(config)]
    assert "hunter2" not in shown + str(config) + repr(config) + "".join(urls) + repr(plan_targets(config))
    assert urls[1] == "https://a:9090/m?format=text&token=<secret>"
    copy = msgspec.msgpack.decode(
        msgspec.msgpack.encode(config, enc_hook=reveal_hook), type=Config, dec_hook=conceal_hook
    )
    assert copy == config


@pytest.mark.parametrize(
    ("job", "fault"),
    [
        ("{}", "Object missing required field `job_name`"),
        ("{job_name: ''}", "job_name is empty"),
        ("{job_name: a, colour: red}", "Object contains unknown field `colour`"),
        ("{job_name: a, kubernetes_sd_configs: []}", "kubernetes_sd_configs: not supported here: only static_configs"),
        ("{job_name: a, file_sd_configs: []}", "file_sd_configs: not supported here: only static_configs"),
        ("{job_name: a, relabel_configs: []}", "relabel_configs: not supported here: give the labels in static_config"),
        ("{job_name: a, oauth2: {}}", "oauth2: not supported here: give authorization"),
        ("{job_name: a, bearer_token: x}", "bearer_token: not supported here: give authorization: credentials"),
        ("{job_name: a, static_configs: [{targets: ['http://h/']}]}", "static_configs[0]: not HOST:PORT: 'http://h/'"),
        ("{job_name: a, static_configs: [{targets: ['h:99999']}]}", "static_configs[0]: not HOST:PORT: 'h:99999'"),
        ("{job_name: a, static_configs: [{}]}", "static_configs[0]: Object missing required field `targets`"),
        ("{job_name: a, static_configs: [{targets: [h], labels: {a-b: c}}]}", "static_configs[0]: not a label's name"),
        ("{job_name: a, scheme: ftp}", "scheme: Invalid enum value 'ftp'"),
        ("{job_name: a, metrics_path: m}", "metrics_path: begins with a slash, unlike 'm'"),
        ("{job_name: a, scrape_interval: 5}", "scrape_interval: Expected `str`, got `int`"),
        ("{job_name: a, scrape_interval: 1ms}", "scrape_interval: an interval must be at least 10ms"),
        ("{job_name: a, body_size_limit: much}", "body_size_limit: not a size"),
        ("{job_name: a, sample_limit: -1}", "sample_limit: below 0"),
        ("{job_name: a, honor_labels: maybe}", "honor_labels: Expected `bool`, got `str`"),
        (
            "{job_name: a, basic_auth: {password: x, password_file: y}}",
            "basic_auth: password and password_file ex",
        ),
        ("{job_name: a, basic_auth: {}, authorization: {}}", "basic_auth and authorization exclude each other"),
        ("{job_name: a, tls_config: {cert_file: x}}", "tls_config: cert_file and key_file go together"),
        ("{job_name: a, http_headers: {Host: {values: [x]}}}", "the header 'Host' cannot be replaced"),
        ("{job_name: a, http_headers: {'a b': {}}}", "not a header: 'a b'"),
        ('{job_name: a, http_headers: {X: {secrets: ["a\\nb"]}}}', "not a header: 'X'"),
        ("{job_name: a, metric_relabel_configs: [{action: shout}]}", "metric_relabel_configs[0].action: Invalid enum"),
        ("{job_name: a, metric_relabel_configs: [{regex: '('}]}", "metric_relabel_configs[0]: "),
        ("{job_name: a, target_limit: 1, static_configs: [{targets: [a, b]}]}", "target_limit: 2 targets, more than 1"),
    ],
)
def test_a_fault_names_its_place(job: str, fault: str, tmp_path: Path) -> None:
    """The line of the item, the key, what is wrong with it."""
    config, faults = read(tmp_path, f"interval: 2s\nscrape_configs:\n  - {job}\n")
    assert len(faults) == 1
    assert faults[0].startswith(f"line 2: scrape_configs: the item in line 3: {fault}"), faults[0]
    assert config.scrape_configs == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("scrape_configs:\n- job_name: a\n  job_name: b", "line 3: scrape_configs: job_name: given twice"),
        (
            "scrape_configs:\n- &a {job_name: a, basic_auth: {username: x,\n username: y}}\n- *a",
            "line 3: scrape_configs: username: given twice",
        ),
        ("scrape_configs: [{job_name: a}, {job_name: a}]", "line 1: scrape_configs: two jobs are called 'a'"),
        ("scrape: a=http://h\nscrape_configs: [{job_name: a}]", "--scrape and a job of scrape_configs are both called"),
        ("scrape_configs: [{job_name: a, static_configs: [{targets: [h, h]}]}]", "the target 'a/h' is there twice"),
        (
            "scrape_configs:\n- {job_name: a, scrape_interval: 1s, scrape_timeout: 2s, static_configs: [targets: [h]]}",
            "a: scrape_timeout is longer than scrape_interval",
        ),
        ("scrape_configs: [{job_name: a, scrape_timeout: 30s}]", "a: scrape_timeout is longer than scrape_interval"),
        (
            "scrape_configs:\n- {job_name: a, static_configs: [{targets: [h], labels: {__scrape_timeout__: 9s}}]}",
            "a/h: scrape_timeout is longer than scrape_interval",
        ),
        (f"scrape: [{', '.join(f'a{i}=http://h' for i in range(51))}]", "51 targets, at most 50 are allowed"),
    ],
)
def test_what_does_not_go_together_is_a_fault(text: str, fault: str, tmp_path: Path) -> None:
    """Names that are there twice, a timeout beyond the interval, too many targets."""
    _, faults = read(tmp_path, text)
    assert len(faults) == 1
    assert faults[0].removeprefix("--scrape and scrape_configs: ").startswith(fault)


def test_keys_that_change_nothing_are_taken(tmp_path: Path) -> None:
    """Files that were written for Prometheus need not be changed for their sake."""
    keys = "enable_http2: false, scrape_protocols: [PrometheusText0.0.4], fallback_scrape_protocol: PrometheusText0.0.4"
    text = f"scrape_configs: [{{job_name: a, {keys}, static_configs: [{{targets: [h]}}]}}]"
    assert list(planned(tmp_path, text)) == ["a/h"]
