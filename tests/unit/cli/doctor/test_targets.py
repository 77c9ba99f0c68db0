"""What the doctor says of the targets of --scrape, each a real socket."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from prom_probe.cli.doctor.finding import Finding
from prom_probe.cli.doctor.report import examine
from prom_probe.cli.doctor.targets import check_targets
from prom_probe.config.settings import Config
from prom_probe.config.target import parse_target
from tests.support.http_peer import Peer


def answer(body: bytes, status: str = "200 OK", content_type: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def say_nothing(sock: socket.socket, request: bytes) -> None:
    sock.recv(1)


def check(url: str) -> Finding:
    config = Config(
        scrape=(parse_target(f"app={url}"),), interval_scrape=0.3, scrape_sample_limit=2, scrape_body_size_limit=1000
    )
    (finding,) = check_targets(config)
    assert (finding.subject, finding.source) == ("target app", url.replace("?a=b", "?a=<secret>"))
    return finding


@pytest.mark.parametrize(
    ("body", "content_type", "detail"),
    [
        (b"a 1\nb 2\n", "text/plain", "2 samples, text, 8B in "),
        (b"a 1\n# EOF\n", "application/openmetrics-text; version=1.0.0", "1 samples, OpenMetrics, 10B in "),
    ],
)
def test_what_answers_is_ok(body: bytes, content_type: str, detail: str) -> None:
    """With what it said and how long it took."""
    peer = Peer(answer(body, content_type=content_type))
    try:
        finding = check(peer.url)
        assert finding.status == "ok" and finding.detail.startswith(detail)
    finally:
        peer.close()


@pytest.mark.parametrize(
    ("said", "reason", "change"),
    [
        (answer(b"", "404 Not Found"), "the status is 404 Not Found", "path"),
        (answer(b"<html>\n"), "line 1: neither a sample nor a comment: '<html>'", "path"),
        (
            answer(b"\x0c\n\x01a", content_type="application/vnd.google.protobuf; encoding=delimited"),
            "protocol buffers, which are not read (Content-Type application/vnd.google.protobuf)",
            "have it answer in the text format",
        ),
        (
            answer(b"\x0c\n\x01a"),
            "protocol buffers, which are not read (Content-Type text/plain)",
            "have it answer in the text format",
        ),
        (answer(b"a 1\nb 2\nc 3\n"), "3 samples, more than 2", "--scrape.sample-limit"),
        (answer(b"a 1\n" * 300), "the body has more than 1000 bytes", "--scrape.body-size-limit"),
        (say_nothing, "the deadline passed before the page was complete", "--interval.scrape"),
    ],
)
def test_what_does_not_is_missing(said: object, reason: str, change: str) -> None:
    """With the reason, and the setting to change."""
    peer = Peer(said)  # type: ignore[arg-type]
    try:
        finding = check(peer.url)
    finally:
        peer.close()
    assert (finding.status, finding.reason) == ("missing", reason)
    assert change in finding.change
    assert finding.without == 'up{job="app"} is 0, and nothing of its page is stored'


def test_nobody_there(tmp_path: Path) -> None:
    """Neither at a port nor behind a socket."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert check(f"http://127.0.0.1:{port}").reason == "Connection refused"
    assert check(f"unix:{tmp_path / 'none'}").reason == "No such file or directory"


def test_targets_are_a_part_of_the_report() -> None:
    """And nothing is said where there are none."""
    peer = Peer(answer(b"a 1\n"))
    try:
        without = Config(web_listen_address=(), api_listen_address=())
        report = examine(msgspec.structs.replace(without, scrape=(parse_target(f"app={peer.url}"),)))
        assert [f.status for f in report.findings if f.subject == "target app"] == ["ok"]
        assert not any(f.subject.startswith("target") for f in examine(without).findings)
    finally:
        peer.close()
