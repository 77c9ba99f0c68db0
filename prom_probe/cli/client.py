"""Asks a Prometheus query API over HTTP."""

from __future__ import annotations

import http.client
import re
import socket
from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import msgspec

from prom_probe.cli.error import ClientError
from prom_probe.cli.span import Span


def fetch(url: str, expr: str, span: Span) -> bytes:
    """The API's JSON for an instant query, or for a range query if the span has a start. Raises ClientError."""
    if span.start_s is None:
        return _post(url, "/api/v1/query", {"query": expr, "time": f"{span.end_s:.3f}"})
    times = {"start": f"{span.start_s:.3f}", "end": f"{span.end_s:.3f}", "step": f"{span.step_s:.3f}"}
    return _post(url, "/api/v1/query_range", {"query": expr, **times})


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _post(url: str, path: str, form: dict[str, str]) -> bytes:
    connection, prefix, headers = _connection(url)
    url = _without_user(url)
    try:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST", prefix + path, urlencode(form), headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ClientError(f"no answer from {url}: {reason}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise ClientError(_reason(body) or f"{url} answered {response.status} {response.reason}")
    return body


def _connection(url: str) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """The connection, the prefix of its paths, and the headers for the URL's user."""
    if url.startswith("unix:"):
        return UnixConnection(url[5:]), "", {}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ClientError(f"--url: not a URL: {_without_user(url)!r}", 2) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(f"--url: neither http://HOST:PORT nor unix:PATH: {_without_user(url)!r}", 2)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=60), parts.path.rstrip("/"), _credentials(parts)


def _without_user(url: str) -> str:
    """The URL without its password, for messages."""
    return re.sub(r"//.*@", "//", url).partition("?")[0]


def _credentials(parts: SplitResult) -> dict[str, str]:
    """Basic authentication with the user and password of a URL, which are percent-encoded there."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _reason(body: bytes) -> str:
    try:
        answer = msgspec.json.decode(body)
        return f"{answer['errorType']}: {answer['error']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
