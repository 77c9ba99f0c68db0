"""`scrape_configs`: the same section gives us what it gives a real Prometheus; credentials, TLS, reload."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.http_peer import Peer
from tests.support.peers import prometheus
from tests.support.programs import program
from tests.support.prometheus import matrix
from tests.support.replay import OPENMETRICS, Answer, Replay, page
from tests.support.sidecar import Sidecar, command
from tests.support.tls import Authority
from tests.support.waiting import wait_for

NOW_MS = round(time.time() * 1000) - 30_000
LONG = "v" * 5000

PLAIN = f"""\
# TYPE go_goroutines gauge
go_goroutines 7
# TYPE old_total counter
old_total{{secret="x",job="mine"}} 1
long{{value="{LONG}"}} 1
b{{instance="",job="theirs"}} 2
"""
STAMPED = f"a 1 {NOW_MS}\nb 2 {NOW_MS + 500}\nc 3\n"
STAMPED_LATER = f"a 2 {NOW_MS + 1000}\nb 2 {NOW_MS + 500}\nc 3\n"
OPEN = f"# TYPE x counter\nx_total 5 {NOW_MS / 1000}\nx_created 1.5\n# EOF\n"

PLAINLY = [page(PLAIN)]
STAMPS = [page(STAMPED), page(STAMPED_LATER)]
JOBS: dict[str, tuple[list[Answer], dict[str, Any]]] = {
    "plain": (PLAINLY, {}),
    "honored": (PLAINLY, {"honor_labels": True}),
    "stamped": (STAMPS, {}),
    "unstamped": (STAMPS, {"honor_timestamps": False}),
    "open": ([page(OPEN, OPENMETRICS)], {}),
    "relabelled": (
        PLAINLY,
        {
            "metric_relabel_configs": [
                {"source_labels": ["__name__"], "regex": "go_.*", "action": "drop"},
                {
                    "source_labels": ["__name__"],
                    "regex": "old_(.*)",
                    "target_label": "__name__",
                    "replacement": "new_$1",
                },
                {"regex": "secret|value", "action": "labeldrop"},
                {"source_labels": ["job", "exported_job"], "separator": "/", "target_label": "both"},
            ]
        },
    ),
    "many samples": (PLAINLY, {"sample_limit": 3}),
    "few samples": (PLAINLY, {"sample_limit": 4}),
    "many labels": (PLAINLY, {"label_limit": 4}),
    "few labels": (PLAINLY, {"label_limit": 5}),
    "long name": (PLAINLY, {"label_name_length_limit": 10}),
    "long value": (PLAINLY, {"label_value_length_limit": 4999}),
    "large": (PLAINLY, {"body_size_limit": "5KB"}),
    "small": (PLAINLY, {"body_size_limit": "6KB"}),
}
SCRAPES = 4


def path_of(job: str) -> str:
    return f"/{job.replace(' ', '-')}"


def sections(address: str) -> list[dict[str, Any]]:
    """The jobs, each with labels of its own."""
    return [
        {
            "job_name": name,
            "metrics_path": path_of(name),
            "static_configs": [{"targets": [address], "labels": {"team": "blue"}}],
            **settings,
        }
        for name, (_, settings) in JOBS.items()
    ]


def stored(url: str, job: str) -> dict[str, list[tuple[float, str]]]:
    """All of a job's samples: with their times where the page has given them, else each value once."""
    found = {}
    for labels, samples in matrix(
        url, f'{{job="{job}",__name__!="scrape_duration_seconds"}}[10m]', time.time()
    ).items():
        given = [(t, value) for t, value in samples if NOW_MS <= t * 1000 <= NOW_MS + 1000]
        once = [(0.0, value) for value in dict.fromkeys(value for _, value in samples)]
        found[json.dumps(labels)] = given or once
    return found


def test_the_same_section_gives_the_same_samples(tmp_path: Path) -> None:
    """Labels, timestamps, relabelling, limits, and what is told of each scrape, beside a real Prometheus."""
    program("prometheus")
    with Replay({path_of(name): pages for name, (pages, _) in JOBS.items()}) as replay:
        jobs = json.dumps(sections(replay.address))
        file = tmp_path / "c.yml"
        file.write_text(f"interval: 200ms\nscrape_configs: {jobs}\n")
        config = f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: {jobs}\n"
        with Sidecar(flags=[f"--config.file={file}", "--interval.scrape=1s"]) as sidecar, prometheus(config) as peer:
            for job in JOBS:
                for client in ("Prometheus", "prom_probe"):
                    asked = partial(replay.has_asked, path_of(job), client, SCRAPES)
                    wait_for(f"{client}'s scrapes of {job}", peer.unless_ended(asked))
            for job in JOBS:
                expected = stored(peer.url, job)
                assert len(expected) >= 4, job
                assert stored(sidecar.api, job) == expected, job


def test_a_series_with_timestamps_is_there_at_once() -> None:
    """For an instant query too, though its row has no value."""
    peer = Peer(http_answer(f"a 5 {round(time.time() * 1000)}\n"))
    try:
        with configured(f"- {{job_name: app, static_configs: [{{targets: ['{host(peer)}']}}]}}") as sidecar:
            wait_for("a", lambda: sidecar.value('a{job="app"}') == 5)
            wait_for("more scrapes", lambda: (sidecar.value('count_over_time(up{job="app"}[1m])') or 0) > 3)
            assert sidecar.value('a{job="app"}') == 5
            assert sidecar.value('count_over_time(a{job="app"}[1m])') == 1
    finally:
        peer.close()


def host(peer: Peer) -> str:
    return peer.url.split("/")[2]


def http_answer(text: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@contextmanager
def configured(jobs: str, tmp_path: Path | None = None, interval: str = "200ms") -> Iterator[Sidecar]:
    """A sidecar with these items of scrape_configs."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = (tmp_path or Path(folder)) / "c.yml"
        file.write_text(f"interval: {interval}\nscrape_configs:\n{jobs}\n")
        with Sidecar(flags=[f"--config.file={file}", "--web.enable-lifecycle"]) as sidecar:
            yield sidecar


def test_credentials_are_sent_read_anew_and_shown_nowhere(tmp_path: Path) -> None:
    """From the file or from files of their own; what cannot be read is a failure that names the file."""
    peer = Peer(http_answer("a 1\n"))
    token, header = tmp_path / "token", tmp_path / "header"
    token.write_text("hunter2-first\n")
    header.write_text("hunter2-header\n")
    target = f"static_configs: [{{targets: ['{host(peer)}']}}]"
    jobs = f"""\
- {{job_name: basic, basic_auth: {{username: me, password: hunter2}}, {target}}}
- {{job_name: bearer, authorization: {{credentials_file: {token}}}, {target}}}
- {{job_name: header, http_headers: {{X: {{values: [a], files: [{header}]}}}}, params: {{k: [hunter2]}}, {target}}}
"""
    try:
        with configured(jobs, tmp_path) as sidecar:
            wait_for("all are up", lambda: sidecar.value("sum(up)") == 3)
            basic = b"Authorization: Basic " + base64.b64encode(b"me:hunter2")
            for sent in (basic, b"Authorization: Bearer hunter2-first\r\n", b"X: a\r\nX: hunter2-header\r\n"):
                assert any(sent in request for request in peer.requests), sent
            assert any(b"GET /metrics?k=hunter2 " in request for request in peer.requests)
            token.write_text("hunter2-second\n")
            later = b"Authorization: Bearer hunter2-second\r\n"
            wait_for("the new token", lambda: any(later in request for request in peer.requests))
            token.unlink()
            wait_for("one is down", lambda: sidecar.value('up{job="bearer"}') == 0)
            assert f"{token}: No such file or directory" in sidecar.stderr
            failures = {"target": f"bearer/{host(peer)}", "reason": "credentials"}
            assert (sidecar.metric("prom_probe_target_scrape_failures_total", **failures) or 0) >= 1
            paths = ("/api/v1/targets", "/api/v1/status/config", "/api/v1/status/flags", "/metrics", "/")
            seen = [sidecar.get(path)[1] for path in paths]
            assert b"hunter2" not in b"".join(seen)
            assert b"<secret>" in seen[0] and b"<secret>" in seen[1]
            assert "hunter2" not in sidecar.stderr
        for done in (
            command("check-config", str(tmp_path / "c.yml")),
            command("doctor", f"--config.file={tmp_path}/c.yml"),
        ):
            assert "hunter2" not in done.stdout + done.stderr
    finally:
        peer.close()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"a 1\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def says(sidecar: Sidecar, text: str) -> bool:
    return text in sidecar.stderr


def test_a_target_with_tls_is_recognised_by_its_ca(tmp_path: Path) -> None:
    """Or by no one; without either, the log and doctor say that it is not trusted, and what to change."""
    program("openssl")
    authority = Authority(tmp_path)
    authority.issue("server", "DNS:somewhere")
    authority.issue("client")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.crt"))
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    ours = f"cert_file: {tmp_path}/client.crt, key_file: {tmp_path}/client.key"
    target = f"scheme: https, static_configs: [{{targets: ['127.0.0.1:{server.server_address[1]}']}}]"
    jobs = f"""\
- {{job_name: known, tls_config: {{ca_file: {tmp_path}/ca.crt, server_name: somewhere, {ours}}}, {target}}}
- {{job_name: anyone, tls_config: {{insecure_skip_verify: true, {ours}}}, {target}}}
- {{job_name: unknown, tls_config: {{{ours}}}, {target}}}
- {{job_name: elsewhere, tls_config: {{ca_file: {tmp_path}/ca.crt, {ours}}}, {target}}}
"""
    try:
        with configured(jobs, tmp_path, "1s") as sidecar:
            wait_for("two are up", lambda: sidecar.value('sum(up{job=~"known|anyone"})') == 2)
            for reason in ("self-signed certificate", "IP address mismatch"):
                text = f"its certificate is not trusted: {reason}"
                wait_for(text, partial(says, sidecar, text))
        advice = r"its certificate is not trusted.*name its CA in tls_config: ca_file"
        doctor = partial(command, "doctor", f"--config.file={tmp_path}/c.yml")
        wait_for("its advice", lambda: re.search(advice, doctor().stdout, re.DOTALL))
    finally:
        server.shutdown()
        server.server_close()


def test_targets_are_told_and_a_reload_changes_them(tmp_path: Path) -> None:
    """Each with the interval, timeout, URL and labels of its own; a fault in the file leaves all as it is."""
    peer = Peer(http_answer("# TYPE n gauge\nn 1\n"))
    at = host(peer)
    one = f"- {{job_name: one, static_configs: [{{targets: ['{at}'], labels: {{team: blue}}}}]}}"
    two = (
        f"- {{job_name: two, scrape_interval: 300ms, scrape_timeout: 100ms, "
        f"static_configs: [{{targets: ['{at}'], labels: {{instance: own, __metrics_path__: /other}}}}]}}"
    )
    try:
        with configured(one, tmp_path) as sidecar:
            wait_for("one", lambda: sidecar.value('n{job="one",team="blue"}') == 1)
            (tmp_path / "c.yml").write_text(f"interval: 200ms\nscrape.expose: n\nscrape_configs:\n{one}\n{two}\n")
            os.kill(sidecar.process.pid, signal.SIGHUP)
            wait_for("two", lambda: sidecar.value('n{job="two",instance="own"}') == 1)
            active = json.loads(sidecar.get("/api/v1/targets")[1])["data"]["activeTargets"]
            keys = ("labels", "scrapeUrl", "scrapeInterval", "health")
            told = {target["scrapePool"]: tuple(map(target.get, keys)) for target in active}
            labels = {"job": "one", "instance": at, "team": "blue"}
            assert told["one"] == (labels, f"http://{at}/metrics", "200ms", "up")
            assert told["two"] == ({"job": "two", "instance": "own"}, f"http://{at}/other", "300ms", "up")
            pools = json.loads(sidecar.get("/api/v1/scrape_pools")[1])["data"]["scrapePools"]
            assert pools == ["one", "prom_probe", "two"]
            wait_for("both are shown", lambda: sidecar.metric("n", job="two") == 1)
            wait_for("the first too", lambda: sidecar.metric("n", job="one", team="blue") == 1)
            status, config = sidecar.get("/api/v1/status/config")
            assert status == 200 and re.search(rb"scrape_configs.*job_name.*one.*scrape_interval.*300ms", config)
            (tmp_path / "c.yml").write_text("scrape_configs: [{job_name: one, ec2_sd_configs: []}]\n")
            os.kill(sidecar.process.pid, signal.SIGHUP)
            fault = "the item in line 1: ec2_sd_configs: not supported here: only static_configs"
            wait_for("the fault is told", lambda: fault in sidecar.stderr)
            assert sidecar.value("sum(up)") == 2
    finally:
        peer.close()


def test_promtool_takes_what_is_shown_of_targets_that_contradict_each_other() -> None:
    """A histogram beside its parts without a type, a summary beside a sample of a part's name."""
    texts = (
        '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\ns_count 5\n',
        'h_bucket{le="1"} 10\nh_bucket{le="+Inf"} 20\nh_sum 30\nh_count 20\n',
        '# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 5\n',
    )
    peers = [Peer(http_answer(text)) for text in texts]
    flags = ["--interval=200ms", "--scrape.expose=.*", "--expose.self=full"]
    flags += [f"--scrape=t{i}={peer.url}" for i, peer in enumerate(peers)]
    try:
        with Sidecar(flags=flags) as sidecar:
            wait_for("all are up", lambda: sidecar.value("sum(up)") == 3)
            name = "prom_probe_target_unexposed_series"
            wait_for("what is left out", lambda: sum(v for (n, _), v in sidecar.metrics().items() if n == name) >= 4)
            text = sidecar.get("/metrics")[1]
        done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=60)
        assert done.returncode in (0, 3), done.stderr  # 3: style
        assert b"error while linting" not in done.stderr, done.stderr
    finally:
        for peer in peers:
            peer.close()
