"""TLS, client certificates and users by `--web.config.file`: against real clients and a real Prometheus."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import pytest

from tests.support.paths import ROOT
from tests.support.peers import prometheus
from tests.support.programs import program
from tests.support.sidecar import Sidecar, command
from tests.support.tls import MUTUAL, TLS, Authority, context, get, write
from tests.support.waiting import DEADLINE_S, wait_for

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def folder(authority: Authority, tmp_path: Path) -> Path:
    """A folder with the certificates, for one test to change."""
    for file in authority.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def _address(url: str) -> tuple[str, str]:
    host, _, port = url.partition("://")[2].rpartition(":")
    return host, port


USERS = f"basic_auth_users:\n  scraper: {HASH}\n"


def test_tls_with_a_client_certificate(folder: Path) -> None:
    """Who has none is not let in; old protocol versions are not spoken; the headers are there."""
    file = write(folder, MUTUAL + "http_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        status, headers = get(sidecar.web + "/metrics", context(folder, "client"))
        assert status == 200 and headers["X-Frame-Options"] == "deny"
        assert get(sidecar.api + "/api/v1/query?query=1", context(folder, "client"))[0] == 200
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            get(sidecar.web + "/metrics", context(folder))
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            get(sidecar.web.replace("https:", "http:") + "/metrics")
        old = context(folder, "client")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            get(sidecar.web + "/metrics", old)
        assert "Traceback" not in sidecar.stderr


@pytest.mark.parametrize(("mode", "warned"), [(0o644, ["web.yml", "server.key"]), (0o600, [])])
def test_files_with_secrets_that_all_can_read(folder: Path, mode: int, warned: list[str]) -> None:
    """A line for each; it serves all the same, since in a container all may be one user."""
    file = write(folder, TLS + USERS)
    for path in (file, folder / "server.key"):
        path.chmod(mode)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        assert get(sidecar.web + "/-/healthy", context(folder))[0] == 200
        told = [line for line in sidecar.stderr.splitlines() if "is readable by every user" in line]
        assert len(told) == len(warned)
        assert all(str(folder / name) in line for name, line in zip(warned, told, strict=True))


def test_only_certain_clients(folder: Path, authority: Authority) -> None:
    """With client_allowed_sans a certificate needs one of these names too."""
    file = write(folder, MUTUAL + "  client_allowed_sans: [scraper.example]\n")
    authority.issue("scraper", "DNS:scraper.example")
    for name in ("scraper.crt", "scraper.key"):
        (folder / name).write_bytes((authority.folder / name).read_bytes())
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        assert get(sidecar.web + "/metrics", context(folder, "scraper"))[0] == 200
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            get(sidecar.web + "/metrics", context(folder, "client"))


def test_a_new_certificate_without_a_restart(folder: Path, authority: Authority) -> None:
    """New connections see it, an open one goes on; a broken file keeps the old one and is logged once."""
    file = write(folder, TLS)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        host, port = _address(sidecar.web)

        def serial() -> str:
            raw = socket.create_connection((host, int(port)), DEADLINE_S)
            with context(folder).wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                found: Any = tls.getpeercert()
                return str(found["serialNumber"])

        kept = http.client.HTTPSConnection(host, int(port), context=context(folder), timeout=DEADLINE_S)
        kept.request("GET", "/metrics")
        assert kept.getresponse().read()
        before = serial()
        (folder / "server.crt").write_text("no certificate\n")
        wait_for("the broken file is noticed", lambda: "web configuration not reloaded" in sidecar.stderr)
        assert serial() == before
        authority.issue("server2")
        for end in ("key", "crt"):
            os.replace(authority.folder / f"server2.{end}", folder / f"server.{end}.new")
        os.replace(folder / "server.key.new", folder / "server.key")
        os.replace(folder / "server.crt.new", folder / "server.crt")
        wait_for("the new certificate", lambda: serial() != before)
        kept.request("GET", "/metrics")
        assert kept.getresponse().status == 200
        kept.close()


def test_users_and_passwords(folder: Path) -> None:
    """401 without the right ones; health needs none; wrong ones at rate harm nobody; the file is read again."""
    file = write(folder, USERS)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        url = sidecar.web + "/metrics"
        status, headers = get(url)
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic")
        assert get(url, user=f"scraper:{PASSWORD}")[0] == 200
        for user in ("scraper:wrong", f"nobody:{PASSWORD}", "scraper:", ":", "scraper:" + "x" * 100, "scraper:\0"):
            assert get(url, user=user)[0] == 401, user
        assert get(sidecar.web + "/no/such/page")[0] == 401
        assert get(sidecar.api + "/api/v1/query?query=1")[0] == 401
        assert get(sidecar.web + "/-/healthy")[0] == 200 and get(sidecar.web + "/-/ready")[0] in (200, 503)
        for i in range(100):
            assert get(url, user=f"scraper:{i}")[0] == 401
        assert get(url, user=f"scraper:{PASSWORD}")[0] == 200
        other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
        file.write_text(f"basic_auth_users:\n  scraper: {other}\n")
        wait_for("the new password", lambda: get(url, user="scraper:other")[0] == 200)
        assert get(url, user=f"scraper:{PASSWORD}")[0] == 401
        assert HASH not in sidecar.stderr and PASSWORD not in sidecar.stderr
        status, body = sidecar.get(
            "/api/v1/status/config", headers={"Authorization": "Basic " + base64.b64encode(b"scraper:other").decode()}
        )
        assert status == 200 and other.encode() not in body and b"web.yml" in body


@pytest.mark.parametrize(
    ("user", "status", "printed"),
    [
        ("scraper:PASSWORD@", 0, "1\n"),
        ("scraper:wrong@", 1, "prom-probe: https://HOST answered 401 Unauthorized\n"),
        ("", 1, "prom-probe: https://HOST answered 401 Unauthorized\n"),
    ],
)
def test_the_query_command_takes_a_user_of_the_url(folder: Path, user: str, status: int, printed: str) -> None:
    """From --url or its variable; what it prints has no password."""
    file = write(folder, TLS + USERS)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        host = sidecar.api.partition("://")[2]
        url = f"https://{user.replace('PASSWORD', quote(PASSWORD, safe=''))}{host}"
        done = command("query", "1", PROM_PROBE_URL=url, SSL_CERT_FILE=str(folder / "ca.crt"))
    assert (done.returncode, done.stdout + done.stderr) == (status, printed.replace("HOST", host))


def test_many_wrong_passwords_do_not_keep_a_scraper_waiting(folder: Path) -> None:
    """Checks wait in a queue of their own, with an end; who is known passes by."""
    slow = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8)).decode()
    file = write(folder, f"basic_auth_users:\n  scraper: {slow}\n")
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        host, port = _address(sidecar.web)
        good = base64.b64encode(f"scraper:{PASSWORD}".encode()).decode()
        assert get(sidecar.web + "/metrics", user=f"scraper:{PASSWORD}")[0] == 200
        attackers = []
        for i in range(100):
            sock = socket.create_connection((host, int(port)), DEADLINE_S)
            wrong = base64.b64encode(f"scraper:wrong{i}".encode()).decode()
            sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {wrong}\r\n\r\n".encode())
            attackers.append(sock)
        for _ in range(20):
            sock = socket.create_connection((host, int(port)), DEADLINE_S)
            sock.sendall(f"GET /metrics HTTP/1.0\r\nAuthorization: Basic {good}\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 200"
            sock.close()
        codes = set()
        for sock in attackers:
            sock.settimeout(DEADLINE_S)
            codes.add(sock.recv(12)[-3:])
            sock.close()
        assert codes <= {b"401", b"503"} and b"401" in codes


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (TLS.replace("server.key", "client.key"), "KEY_VALUES_MISMATCH"),
        ("basic_auth_users:\n  a: plain\n", "line 2: basic_auth_users.a: not a bcrypt hash"),
    ],
)
def test_a_wrong_file_refuses_to_start_with_one_line(folder: Path, text: str, error: str) -> None:
    """File, line, key, reason; never a secret."""
    file = write(folder, text)
    sidecar = Sidecar(flags=[f"--web.config.file={file}"])
    assert sidecar.wait() == 1
    (line,) = sidecar.stderr.splitlines()
    assert line.startswith("prom-probe: ") and error in line and "plain" not in line


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (USERS, "in use by a running prom-probe"),
        (TLS + USERS, "in use by a running prom-probe"),
        (MUTUAL, "in use by a TLS server that requires a certificate"),
    ],
    ids=["password", "TLS", "client certificate"],
)
def test_the_doctor_knows_a_prom_probe_behind_tls(folder: Path, text: str, detail: str) -> None:
    """Called beside it with its settings; with a broken file it says what is broken."""
    file = write(folder, text)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:

        def findings() -> dict[str, Any]:
            flags = [f"--web.listen-address={sidecar.web.partition('://')[2]}", "--api.listen-address="]
            done = command("doctor", "--json", f"--web.config.file={file}", *flags)
            return {one["source"]: one for one in json.loads(done.stdout)["findings"]}

        found = findings()
        address = found[f"--web.listen-address={sidecar.web.partition('://')[2]}"]
        assert address["status"] == "ok" and address["detail"].startswith(detail)
        assert found[f"--web.config.file={file}"]["detail"] == ("TLS" if "tls" in text else "no TLS")
        file.write_text("tls_server_confg: {}\n")
        broken = findings()[f"--web.config.file={file}"]
        assert broken["status"] == "missing" and "tls_server_confg: unknown key" in broken["reason"]


def test_promtool_accepts_what_we_do(folder: Path) -> None:
    """The example file of the documentation, with all that we take."""
    promtool = program("promtool")
    text = (ROOT / "docs" / "web-config.example.yml").read_text()
    file = write(folder, text)
    done = subprocess.run(
        [promtool, "check", "web-config", str(file)], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        assert get(sidecar.web + "/-/healthy", context(folder, "client"))[0] == 200


def test_a_real_prometheus_scrapes_over_tls_with_certificate_and_password(folder: Path) -> None:
    """`up` is 1 with them, and 0 without the certificate."""
    program("prometheus")
    file = write(folder, MUTUAL + USERS)
    with Sidecar(flags=[f"--web.config.file={file}"]) as sidecar:
        target = ":".join(_address(sidecar.web))
        common = f"    scheme: https\n    scrape_interval: 1s\n    static_configs: [{{targets: ['{target}']}}]\n"
        users = f"    basic_auth: {{username: scraper, password: '{PASSWORD}'}}\n"
        tls = f"    tls_config: {{ca_file: {folder}/ca.crt"
        cert = f", cert_file: {folder}/client.crt, key_file: {folder}/client.key"
        good = f"  - job_name: good\n{common}{users}{tls}{cert}}}\n"
        with prometheus(f"scrape_configs:\n{good}  - job_name: bare\n{common}{users}{tls}}}\n") as peer:

            def up() -> dict[str, str]:
                result = json.loads(peer.get("/api/v1/query?query=up")[1])["data"]["result"]
                return {one["metric"]["job"]: one["value"][1] for one in result}

            wait_for("both were scraped", lambda: len(up()) == 2)
            wait_for("the good one is up", lambda: up()["good"] == "1")
            assert up()["bare"] == "0"
