"""Secrets planted in every setting that can hold one, and every output searched for them."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_peer import Peer
from tests.support.sidecar import FREE, Sidecar, children, command
from tests.support.waiting import DEADLINE_S, wait_for

PLANTED = "hunter2"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n"
_SHOWN = ("cmdline", "environ")
PATHS = (
    *("/", "/metrics", "/api/v1/targets", "/api/v1/targets/metadata", "/api/v1/status/config", "/api/v1/status/flags"),
    *("/api/v1/status/runtimeinfo", "/api/v1/status/tsdb", "/api/v1/series?match[]={job=~%22.%2B%22}"),
    *("/federate?match[]={job=~%22.%2B%22}", "/api/v1/labels"),
)


@pytest.fixture
def peers() -> Iterator[tuple[Peer, Peer]]:
    """A server of pages, and one that redirects to what cannot be followed, with the secret in it."""
    location = f"gopher://user:{PLANTED}@h/?token={PLANTED}".encode()
    both = (
        Peer(PAGE),
        Peer(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"),
    )
    yield both
    for one in both:
        one.close()


def _targets(peers: tuple[Peer, Peer]) -> list[str]:
    hosts = [peer.url.partition("://")[2].partition("/")[0] for peer in peers]
    return [
        f"basic=http://user:{PLANTED}@{hosts[0]}/metrics",
        f"token=http://{hosts[0]}/metrics?token={PLANTED}",
        f"other=http://{hosts[0]}/metrics?x={PLANTED}&format=text",
        f"redirect=http://{PLANTED}@{hosts[1]}/?key={PLANTED}",
        f"down=http://user:{PLANTED}@127.0.0.1:1/?token={PLANTED}",
        f"socket=unix:/no/such/socket:/m?token={PLANTED}",
    ]


def _post_reload(api: str) -> bytes:
    request = urllib.request.Request(f"{api}/-/reload", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return error.read()


@pytest.mark.parametrize("given_by", ["flags", "variable", "file"])
def test_a_run_shows_none(given_by: str, peers: tuple[Peer, Peer], tmp_path: Path) -> None:
    """Pages, log, answers to a reload, command lines of all processes; the target gets user and token."""
    targets, file = _targets(peers), tmp_path / "c.yml"
    receiver = f"http://user:{PLANTED}@127.0.0.1:1/write?token={PLANTED}"
    lines = "".join(f"  - {target!r}\n" for target in targets)
    in_file = f"remote-write.url: [{receiver!r}]\nscrape:\n{lines}"
    file.write_text(in_file if given_by == "file" else "interval: 200ms\n")
    flags = [f"--config.file={file}", "--web.enable-lifecycle", "--interval.scrape=200ms", "--log.level=debug"]
    flags += ["--remote-write.interval=200ms", "--remote-write.flush-timeout=100ms"]
    if given_by == "flags":
        flags += [part for target in targets[:3] for part in ("--scrape", target)]
        flags += [f"--scrape={target}" for target in targets[3:]] + [f"--remote-write.url={receiver}"]
    variables = {"PROM_PROBE_SCRAPE": ",".join(targets), "PROM_PROBE_REMOTE_WRITE_URL": receiver}
    env = variables if given_by == "variable" else {}
    with Sidecar(flags=flags, env=env) as sidecar:
        words = ("down", "redirect to nowhere", "remote write to")
        wait_for("failures", lambda: all(each in sidecar.stderr for each in words))
        seen = {path: sidecar.get(path)[1] for path in PATHS}
        assert b"<secret>@" in seen["/api/v1/status/flags"]
        pids = [sidecar.process.pid, *children(sidecar.process.pid)]
        if given_by != "variable":
            seen |= {f"{name} of {pid}": Path(f"/proc/{pid}/{name}").read_bytes() for pid in pids for name in _SHOWN}
        good = _post_reload(sidecar.api)
        file.write_text(f"scrape: ['bad=http://user:{PLANTED}@h:99999/?x={PLANTED}', '{PLANTED}@h']\n")
        seen |= {"a good reload": good, "a bad reload": _post_reload(sidecar.api)}
        if given_by == "file":
            assert b"not NAME=http" in seen["a bad reload"]
        seen["stderr"] = sidecar.stderr.encode()
    for place, text in seen.items():
        assert PLANTED.encode() not in text, f"{place}: {text!r}"
    basic = base64.b64encode(f"user:{PLANTED}".encode())
    assert any(b"Authorization: Basic " + basic in request for request in peers[0].requests)
    assert any(f"token={PLANTED}".encode() in request for request in peers[0].requests)


def test_commands_show_none(peers: tuple[Peer, Peer], tmp_path: Path) -> None:
    """once, doctor, check-config, serve and query, with settings that are right, wrong, or lead nowhere."""
    flags = [f"--scrape={target}" for target in _targets(peers)]
    listen = [f"--web.listen-address={FREE}", f"--api.listen-address={FREE}"]
    bad = f"--scrape=a=http://user:{PLANTED}@h:99999/"
    file = tmp_path / "c.yml"
    file.write_text(f"scrape: ['a=ftp://user:{PLANTED}@h', 'b=http://h?token={PLANTED}']\nlog.level: loud\n")
    url = f"http://user:{PLANTED}@127.0.0.1:1/?token={PLANTED}"
    for args in (
        ["once", "--interval=10ms", *flags],
        ["once", "--json", "--interval=10ms", *flags],
        ["once", bad],
        ["run", bad, "--", "true"],
        ["run", *listen, *flags, "--", "true"],
        ["serve", bad],
        ["doctor", *listen, *flags],
        ["doctor", "--json", *listen, *flags],
        ["doctor", bad],
        ["check-config", str(file)],
        ["query", f"--url={url}", "up"],
        ["query", f"--url=http://user:{PLANTED}@h:port/", "up"],
        ["query", f"--url=user:{PLANTED}@h", "up"],
        ["run", f"--web.listen-address=http://user:{PLANTED}@h"],
        ["query", f"--url=ftp://user:{PLANTED}/@h/", "up"],
    ):
        done = command(*args)
        assert done.stdout or done.stderr, args
        assert PLANTED not in done.stdout + done.stderr, (args, done.stdout, done.stderr)
