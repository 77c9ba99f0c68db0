"""Asks a Prometheus query API, and what we have beside it, over HTTP."""

from __future__ import annotations

import http.client
import re
import socket
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import msgspec

from prom_probe.cli.error import ClientError
from prom_probe.history.process_record import ProcessRecord
from prom_probe.history.run_info import RunInfo
from prom_probe.model.run_event import RunEvent

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)

_TIMEOUT_S = 60


class _HeadStats(msgspec.Struct):  # the names are the API's
    minTime: int | None = None
    maxTime: int | None = None


class _TsdbStatus(msgspec.Struct):
    headStats: _HeadStats


class ApiSource:
    """The API at a URL, any Prometheus's for queries; see `Source`. Each answer may take `timeout_s`."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        self.url = url
        self.timeout_s = timeout_s

    def now_s(self) -> float:
        return time.time()

    def query(self, expr: str, time_s: float) -> bytes:
        return self._ask("/api/v1/query", {"query": expr, "time": f"{time_s:.3f}"})

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> bytes:
        times = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:.3f}"}
        return self._ask("/api/v1/query_range", {"query": expr, **times})

    def metric_names(self) -> list[str]:
        return self._get(list[str], "label/__name__/values")

    def stored_span(self) -> tuple[float, float] | None:
        head = self._get(_TsdbStatus, "status/tsdb").headStats
        if head.minTime is None or head.maxTime is None or head.minTime > head.maxTime:  # as of an empty store
            return None
        return head.minTime / 1000, head.maxTime / 1000

    def run(self) -> RunInfo:
        return self._get(RunInfo, "run")

    def processes(self, start_s: float | None = None, end_s: float | None = None) -> list[ProcessRecord]:
        return self._records(ProcessRecord, "processes", _range(start_s, end_s))

    def events(
        self, start_s: float | None = None, end_s: float | None = None, types: Sequence[str] = ()
    ) -> list[RunEvent]:
        return self._records(RunEvent, "events", [*_range(start_s, end_s), *(("type", each) for each in types)])

    def _records(self, kind: type[R], what: str, parameters: Sequence[tuple[str, str]]) -> list[R]:
        """Records that are arrays where they are stored, and objects in the API's answer."""
        rows = self._get(list[dict[str, Any]], what, parameters)
        try:
            return [msgspec.convert([row.get(name) for name in kind.__struct_fields__], kind) for row in rows]
        except msgspec.ValidationError:
            raise self._no_answer() from None

    def _ask(self, path: str, form: Mapping[str, str] | None = None) -> bytes:
        return ask(self.url, path, form, self.timeout_s)

    def _get(self, kind: type[T], what: str, parameters: Sequence[tuple[str, str]] = ()) -> T:
        """The data of an answer of `/api/v1/…`."""
        path = f"/api/v1/{what}" + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            return msgspec.convert(msgspec.json.decode(self._ask(path))["data"], kind)
        except (msgspec.DecodeError, KeyError, TypeError):
            raise self._no_answer() from None

    def _no_answer(self) -> ClientError:
        return ClientError(f"{_without_user(self.url)}: the answer is not as the API has it")


def _range(start_s: float | None, end_s: float | None) -> list[tuple[str, str]]:
    return [(name, f"{value:.3f}") for name, value in (("start", start_s), ("end", end_s)) if value is not None]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float = _TIMEOUT_S) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(url: str, path: str, form: Mapping[str, str] | None = None, timeout_s: float = _TIMEOUT_S) -> bytes:
    """The body of the answer to a GET, or to a POST of `form`. Raises ClientError for any other status than 200."""
    connection, prefix, headers = _connection(url, timeout_s)
    url = _without_user(url)
    try:
        if form is None:
            connection.request("GET", prefix + path, headers=headers)
        else:
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


def _connection(url: str, timeout_s: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """The connection, the prefix of its paths, and the headers for the URL's user."""
    if url.startswith("unix:"):
        return UnixConnection(url[5:], timeout_s), "", {}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ClientError(f"not a URL: {_without_user(url)!r}", 2) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(f"neither http://HOST:PORT nor unix:PATH: {_without_user(url)!r}", 2)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=timeout_s), parts.path.rstrip("/"), _credentials(parts)


def _without_user(url: str) -> str:
    """The URL without its password, for messages."""
    return re.sub(r"^(.*?//)?.*@", r"\1", url).partition("?")[0]


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
