"""Clients that TLS refuses: counted by reason, one log line each, and nobody else notices."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import time
import urllib.request
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prom_probe.web.http.limits import HttpLimits
from tests.support.peers import prometheus
from tests.support.programs import program
from tests.support.sidecar import Sidecar
from tests.support.tls import MUTUAL, Authority, context, get, write
from tests.support.waiting import DEADLINE_S, wait_for
from tests.support.web_harness import FakeStore, Site, serving

FAILURES = "prom_probe_http_tls_handshake_failures_total"
# What a client gets that is refused; with TLS 1.3 it knows only when it wants to read.
REFUSED = (OSError, http.client.HTTPException)


@pytest.fixture(scope="module")
def clients(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of ours, and of two other authorities, one of which has the name of ours."""
    folder = tmp_path_factory.mktemp("clients")
    authority.issue_dated("expired", "20200101000000Z", "20200102000000Z")
    authority.issue_dated("future", "20900101000000Z", "20900102000000Z")
    authority.issue("nameless", "DNS:nobody.example")
    shutil.copytree(authority.folder, folder, dirs_exist_ok=True)
    for subject in ("test authority", "another authority"):
        other = Authority(tmp_path_factory.mktemp("other"), subject)
        name = subject.split()[0]
        other.issue(name)
        for file in (f"{name}.crt", f"{name}.key"):
            shutil.copy(other.folder / file, folder)
        shutil.copy(other.folder / "ca.crt", folder / f"{name}-ca.crt")
    return folder


@pytest.fixture
def folder(clients: Path, tmp_path: Path) -> Path:
    """A copy, for one test to change."""
    shutil.copytree(clients, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].rpartition(":")
    return host, int(port)


def _failures(url: str, trusted: ssl.SSLContext) -> dict[str, float]:
    """How many handshakes have failed, by reason."""
    with urllib.request.urlopen(url + "/metrics", timeout=DEADLINE_S, context=trusted) as answer:
        text = answer.read().decode()
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == FAILURES
    }


def _with_certificate(name: str) -> Callable[[str, Path], object]:
    return lambda url, folder: get(url + "/metrics", context(folder, name))


def _old_version(url: str, folder: Path) -> object:
    old = context(folder, "client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    return get(url + "/metrics", old)


def _distrustful(url: str, folder: Path) -> object:
    return get(url + "/metrics", ssl.create_default_context())


def _sends(data: bytes) -> Callable[[str, Path], object]:
    def send(url: str, folder: Path) -> object:
        with socket.create_connection(_address(url), DEADLINE_S) as sock:
            sock.sendall(data)
            if data:
                assert sock.recv(1) in (b"", b"\x15")
        raise ConnectionError

    return send


# By the reason that is counted.
CLIENTS: dict[str, tuple[Callable[[str, Path], object], ...]] = {
    "no_certificate": (_with_certificate(""),),
    "unknown_ca": (_with_certificate("test"), _with_certificate("another")),
    "expired": (_with_certificate("expired"),),
    "not_yet_valid": (_with_certificate("future"),),
    "name_not_allowed": (_with_certificate("nameless"),),
    "not_tls": (_sends(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), _sends(b"SSH-2.0-OpenSSH_9.2\r\n")),
    "nothing_in_common": (_old_version,),
    "refused_by_client": (_distrustful,),
    "closed": (_sends(b""),),
}


def test_each_kind_is_counted_and_told_once(folder: Path) -> None:
    """Ten of each; another client is served all the while."""
    file = write(folder, MUTUAL + "  client_allowed_sans: [localhost]\n")
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        trusted, pid = context(folder, "client"), wait_for("a worker", lambda: sidecar.worker("aggregator"))
        for _ in range(10):
            for attempts in CLIENTS.values():
                for attempt in attempts:
                    with pytest.raises(REFUSED):
                        attempt(sidecar.web, folder)
            assert get(sidecar.web + "/metrics", trusted)[0] == 200
        wanted = {reason: 10.0 * len(attempts) for reason, attempts in CLIENTS.items()}
        wait_for("all are counted", lambda: _failures(sidecar.web, trusted) == wanted)
        lines = [line for line in sidecar.stderr.splitlines() if "TLS handshake" in line]
        assert len(lines) == len(CLIENTS) and all("127.0.0.1" in line for line in lines), lines
        assert "Traceback" not in sidecar.stderr
        assert sidecar.worker("aggregator") == pid


def test_an_authority_that_is_replaced(folder: Path) -> None:
    """A certificate of the old one is refused within seconds: on new connections, resumed sessions and kept ones."""
    file = write(folder, MUTUAL)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        address, old, new = _address(sidecar.web), context(folder, "client"), context(folder, "another")
        old.maximum_version = ssl.TLSVersion.TLSv1_2  # its session can be resumed without a ticket sent later
        raw = socket.create_connection(address, DEADLINE_S)
        with old.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            session = tls.session
        kept = http.client.HTTPSConnection(*address, context=old, timeout=DEADLINE_S)
        kept.request("GET", "/metrics")
        assert kept.getresponse().read()
        shutil.copy(folder / "another-ca.crt", folder / "ca.new")
        os.replace(folder / "ca.new", folder / "ca.crt")
        wait_for("the new authority counts", lambda: get(sidecar.web + "/metrics", new)[0] == 200)
        assert kept.sock is not None and kept.sock.recv(1) == b""
        with pytest.raises(REFUSED):
            get(sidecar.web + "/metrics", old)
        raw = socket.create_connection(address, DEADLINE_S)
        with pytest.raises(REFUSED), old.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as tls:
            tls.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert not tls.recv(100)
            raise ConnectionError
        wait_for("it is counted", lambda: _failures(sidecar.web, new).get("unknown_ca", 0) >= 2)
        assert "Traceback" not in sidecar.stderr


def test_a_real_prometheus_whose_authority_comes_and_goes(folder: Path) -> None:
    """Its kept connection ends; with a file of both authorities, it is up again by itself."""
    program("prometheus")
    with Sidecar(flags=[f"--web.config.file={write(folder, MUTUAL)}"]) as sidecar:
        target = ":".join(map(str, _address(sidecar.web)))
        files = f"ca_file: {folder}/server-ca.crt, cert_file: {folder}/client.crt, key_file: {folder}/client.key"
        shutil.copy(folder / "ca.crt", folder / "server-ca.crt")
        job = f"  - {{job_name: a, scheme: https, scrape_interval: 1s, tls_config: {{{files}}}, "
        with prometheus(f"scrape_configs:\n{job}static_configs: [{{targets: ['{target}']}}]}}\n") as peer:

            def is_up() -> str:
                return str(json.loads(peer.get("/api/v1/query?query=up")[1])["data"]["result"][0]["value"][1])

            wait_for("a scrape", lambda: peer.get("/api/v1/query?query=up")[1].count(b'"job"'))
            wait_for("it is up", lambda: is_up() == "1")
            ours, another = ((folder / name).read_bytes() for name in ("ca.crt", "another-ca.crt"))
            for content, up in ((another, "0"), (another + ours, "1"), (another, "0")):
                (folder / "ca.new").write_bytes(content)
                os.replace(folder / "ca.new", folder / "ca.crt")
                wait_for(f"up is {up}", lambda up=up: is_up() == up)  # type: ignore[misc]
        assert _failures(sidecar.web, context(folder, "another", "server-ca.crt"))["unknown_ca"] >= 1


def test_a_list_of_names_that_becomes_shorter(folder: Path) -> None:
    """Connections whose certificate has none of the names that are left are ended too."""
    file = write(folder, MUTUAL + "  client_allowed_sans: [localhost, nobody.example]\n")
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        trusted, other = context(folder, "client"), context(folder, "nameless")
        kept = http.client.HTTPSConnection(*_address(sidecar.web), context=other, timeout=DEADLINE_S)
        kept.request("GET", "/metrics")
        assert kept.getresponse().read()
        file.write_text(MUTUAL + "  client_allowed_sans: [localhost]\n")
        assert kept.sock is not None and kept.sock.recv(1) == b""
        with pytest.raises(REFUSED):
            get(sidecar.web + "/metrics", other)
        assert get(sidecar.web + "/metrics", trusted)[0] == 200


def _url(site: Site) -> str:
    return f"https://127.0.0.1:{site.address[1]}"


def _failed(site: Site, reason: str) -> float:
    return site.value(FAILURES, reason=reason)


def test_a_certificate_that_expires_while_it_is_connected(folder: Path) -> None:
    """The kept connection ends with it, and a resumed session does not outlive it."""
    now_s = [time.time()]
    with serving(FakeStore(), web_config=write(folder, MUTUAL), clock=lambda: now_s[0]) as site:
        trusted = context(folder, "client")
        kept = http.client.HTTPSConnection(*_address(_url(site)), context=trusted, timeout=DEADLINE_S)
        kept.request("GET", "/metrics")
        assert kept.getresponse().status == 200
        now_s[0] += 3 * 86400.0
        assert kept.sock is not None and kept.sock.recv(1) == b""
        with pytest.raises(REFUSED):
            get(_url(site) + "/metrics", trusted)
        assert _failed(site, "expired") == 1


def test_handshakes_that_never_end(folder: Path) -> None:
    """They have a deadline, count as connections, and make room for others."""
    limits = HttpLimits(connections=5, header_s=1.0)
    with serving(FakeStore(), web_config=write(folder, MUTUAL), http=limits) as site, ExitStack() as stack:
        for i in range(20):
            sock = stack.enter_context(socket.create_connection(_address(_url(site)), DEADLINE_S))
            sock.sendall([b"", b"\x16\x03\x01"][i % 2])
        assert get(_url(site) + "/-/healthy", context(folder, "client"))[0] == 200
        assert site.value("prom_probe_http_evicted_connections_total") >= 15
        wait_for("the others are timed out", lambda: _failed(site, "timeout") >= 1)
        assert _failed(site, "timeout") <= 5


def test_a_handshake_in_progress_does_not_delay_the_end(folder: Path) -> None:
    """It is cut off as an idle connection is."""
    limits = HttpLimits(header_s=60.0)
    with serving(FakeStore(), web_config=write(folder, MUTUAL), http=limits) as site, ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(_address(_url(site)), DEADLINE_S))
        sock.sendall(b"\x16\x03\x01")
        listener = site.server._listeners[0]
        wait_for("it has arrived", lambda: listener._arriving)
        site.call(lambda: site.server.drain(3600.0))
        assert sock.recv(1) == b""
