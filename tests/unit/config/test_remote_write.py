"""The section `remote_write` of the configuration file, in Prometheus's own form, and the selectors in settings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prom_probe.config.remote_write import V1, V2, parse_external_label
from prom_probe.config.secret import SHOWN, conceal_hook, reveal_hook
from prom_probe.config.selector import parse_selector
from prom_probe.config.settings import Config, shown_settings
from prom_probe.config.sources import find_config
from prom_probe.model.matcher import Matcher

WHOLE = """
interval: 2s
remote_write:
  - url: https://me:secret1@receiver.example/api/v1/write?token=secret2
    name: mimir
    headers: {X-Scope-OrgID: secret3}
    remote_timeout: 10s
    tls_config: {ca_file: ca.crt, cert_file: a.crt, key_file: a.key, server_name: r, insecure_skip_verify: false}
    write_relabel_configs:
      - {source_labels: [__name__], regex: 'prom_probe_.*', action: drop}
    queue_config: {max_samples_per_send: 500, min_backoff: 1s, max_backoff: 1m, capacity: 10000, max_shards: 50}
    metadata_config: {send: true, send_interval: 5m}
    protobuf_message: io.prometheus.write.v2.Request
    send: {interval: 1m, match: ['proctree_process_cpu_seconds_total{tree="a,b"}']}
  - url: http://127.0.0.1:9090/api/v1/write
    basic_auth: {username: me, password: secret4}
  - url: "unix:/run/agent.sock:/write"
    authorization: {credentials: secret5}
external-label: [cluster=west, zone=a]
"""


def read(tmp_path: Path, text: str) -> tuple[Config, list[str]]:
    file = tmp_path / "config.yml"
    file.write_text(text)
    config, faults = find_config({}, {}, file=str(file))
    return config, [fault.removeprefix(f"{file}: ") for fault in faults]


def test_prometheus_own_form(tmp_path: Path) -> None:
    """Each of its keys that means something here, and ours: `send`."""
    config, faults = read(tmp_path, WHOLE)
    assert faults == []
    first, second, third = config.destinations
    assert (first.label, first.protobuf_message, second.protobuf_message) == ("mimir", V2, V1)
    assert first.queue_config.max_samples_per_send == 500
    assert first.send.match == ('proctree_process_cpu_seconds_total{tree="a,b"}',)
    assert first.write_relabel_configs[0].action == "drop"
    assert second.basic_auth is not None and second.basic_auth.username == "me"
    assert third.authorization is not None and third.authorization.type == "Bearer"
    assert len({one.label for one in config.destinations}) == 3
    assert [str(label) for label in config.external_label] == ["cluster=west", "zone=a"]


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    """Neither in the settings that the status pages show nor in any text of a destination."""
    config, _ = read(tmp_path, WHOLE)
    shown = repr(config) + str(shown_settings(config)) + "".join(map(str, config.destinations))
    assert "secret" not in shown.replace(SHOWN, "")
    assert shown_settings(config)["remote_write"].startswith("mimir=https://<secret>@receiver.example/api/v1/write?")


def test_settings_are_handed_to_other_processes(tmp_path: Path) -> None:
    """Whole, secrets included."""
    config, _ = read(tmp_path, WHOLE)
    data = msgspec.msgpack.encode(config, enc_hook=reveal_hook)
    assert msgspec.msgpack.decode(data, type=Config, dec_hook=conceal_hook) == config


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("- url: ftp://x", "the item in line 3: not http://HOST:PORT/PATH"),
        ("- {url: 'http://x', color: red}", "the item in line 3: Object contains unknown field `color`"),
        ("- name: x", "the item in line 3: Object missing required field `url`"),
        ("- {url: 'http://x'}\n  - {url: 'http://y', remote_timeout: soon}", "the item in line 4: not a duration"),
        ("- {url: 'http://x', tls_config: {cert_file: a}}", "line 3: tls_config: cert_file and key_file go together"),
        ("- {url: 'http://x', headers: {host: a}}", "the header 'host' cannot be replaced"),
        ("- {url: 'http://x', headers: {X-A: \"a\\r\\nb\"}}", "not a header: 'X-A'"),
        (
            "- {url: 'http://x', write_relabel_configs: [{regex: '('}]}",
            "line 3: write_relabel_configs[0]: error parsing",
        ),
        ("- {url: 'http://x', queue_config: {max_backoff: 1ms}}", "queue_config: max_backoff is below min_backoff"),
        ("- {url: 'http://x', send: {match: ['{']}}", "send: not a label matcher"),
        ("- {url: 'http://x', basic_auth: {}, authorization: {}}", "basic_auth and authorization exclude each other"),
        ("- {url: 'http://x', basic_auth: {password: a, password_file: b}}", "password and password_file exclude"),
        ("- {url: 'http://x', protobuf_message: v3}", "Invalid enum value 'v3'"),
        ("- {url: 'http://x'}\n  - {url: 'http://x'}", "two destinations are called"),
        ("- http://x", "not a list of mappings"),
        ("- {url: !!python/object:os.system x}", "could not determine a constructor"),
    ],
)
def test_faults_name_their_place(tmp_path: Path, section: str, fault: str) -> None:
    """The line of the item, the key, and what is wrong with it; the rest of the file is read."""
    config, faults = read(tmp_path, f"interval: 2s\nremote_write:\n  {section}\n")
    (found,) = faults
    assert found.startswith("line 2: remote_write: ")
    assert fault in found
    assert config.interval == 2.0


def test_each_fault_is_named(tmp_path: Path) -> None:
    """One item's does not hide the next one's, and what is right is taken."""
    text = "remote_write:\n  - {url: x}\n  - {url: 'http://a/w'}\n  - {url: 'http://b/w', colour: red}\n"
    config, faults = read(tmp_path, text)
    assert [fault.partition(": the ")[2][:14] for fault in faults] == ["item in line 2", "item in line 4"]
    assert [one.shown_url for one in config.destinations] == ["http://a/w"]


def test_one_receiver_by_two_ways(tmp_path: Path) -> None:
    """A flag and the file cannot both name it."""
    file = tmp_path / "config.yml"
    file.write_text("remote_write: [{url: 'http://a/w'}]")
    _, faults = find_config({"remote-write.url": "http://a/w"}, {}, file=str(file))
    (fault,) = faults
    assert "two destinations are called" in fault


def test_a_section_twice(tmp_path: Path) -> None:
    """As any other key."""
    text = "remote_write: [{url: 'http://x'}]\n" * 2
    assert read(tmp_path, text)[1] == ["line 2: remote_write: given twice"]


def test_flags() -> None:
    """A URL is enough; it may be given again."""
    config, faults = find_config({"remote-write.url": ["http://a/w", "https://b/w"]}, {})
    assert not faults
    assert [one.shown_url for one in config.destinations] == ["http://a/w", "https://b/w"]


@pytest.mark.parametrize("text", ["", "a", "=b", "a=", "a-b=c", "__name__=x"])
def test_no_external_labels(text: str) -> None:
    """A name and a value."""
    with pytest.raises(ValueError, match="not NAME=VALUE"):
        parse_external_label(text)


@pytest.mark.parametrize(
    ("text", "matchers"),
    [
        ("up", [("__name__", "=", "up")]),
        ('{a="b"}', [("a", "=", "b")]),
        (
            ' up { a = "b" , c=~\'d.*\', e!~`f"`, g!="h", } ',
            [("__name__", "=", "up"), ("a", "=", "b"), ("c", "=~", "d.*"), ("e", "!~", 'f"'), ("g", "!=", "h")],
        ),
        (r'{a="\"}\\,\n"}', [("a", "=", '"}\\,\n')]),
        ("up{}", [("__name__", "=", "up")]),
    ],
)
def test_selectors(text: str, matchers: list[tuple[str, str, str]]) -> None:
    """Names, quotes of each kind, escapes, a comma at the end."""
    assert [(m.name, m.op, m.value) for m in parse_selector(text)] == matchers
    assert all(isinstance(one, Matcher) for one in parse_selector(text))


@pytest.mark.parametrize("text", ["", "{}", "up{", "up}", '{a="b"', '{a="b"}c', "{a=b}", '{a=~"("}', '{a!="b"}', "1up"])
def test_no_selectors(text: str) -> None:
    """What the query language refuses, too."""
    with pytest.raises(ValueError, match=r"select|matcher|error parsing|unexpected"):
        parse_selector(text)
