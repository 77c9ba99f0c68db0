"""A certificate authority of our own, and clients that speak TLS and give a user."""

from __future__ import annotations

import base64
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.programs import program
from tests.support.waiting import DEADLINE_S

_DATED = """
[ca]
default_ca = ours
[ours]
database = index.txt
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
"""


# Of an elliptic curve: those of RSA take ten times as long.
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority of our own, by the openssl program; strict clients (Python 3.13's) take it too."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder = folder
        self._openssl(
            *("req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca.key", "-out", "ca.crt"),
        )

    def issue(self, name: str, sans: str = "IP:127.0.0.1,DNS:localhost") -> None:
        """`name`.crt and `name`.key."""
        self._openssl(
            *("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key"),
            *("-out", f"{name}.csr"),
        )
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName={sans}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
        )

    def issue_dated(self, name: str, start: str, end: str) -> None:
        """`name`.crt and `name`.key, valid between these times: "20200131235959Z"."""
        self.issue(name)
        (self.folder / "ca.cnf").write_text(_DATED)
        (self.folder / "index.txt").write_text("")
        self._openssl(
            *("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"),
            *("-startdate", start, "-enddate", end, "-in", f"{name}.csr", "-extfile", f"{name}.ext"),
            *("-out", f"{name}.crt"),
        )

    def _openssl(self, *args: str) -> None:
        subprocess.run([program("openssl"), *args], cwd=self.folder, check=True, capture_output=True)


def write(folder: Path, text: str) -> Path:
    file = folder / "web.yml"
    file.write_text(text)
    return file


TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
MUTUAL = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"


def context(folder: Path, client: str = "", authority: str = "ca.crt") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / authority))
    if client:
        context.load_cert_chain(folder / f"{client}.crt", folder / f"{client}.key")
    return context


def get(url: str, context: ssl.SSLContext | None = None, user: str = "") -> tuple[int, dict[str, str]]:
    """(status, headers)"""
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=DEADLINE_S, context=context
        ) as answer:
            answer.read()
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)
