"""Asks a Prometheus query API over HTTP and prints its answer as a table."""

from __future__ import annotations

import http.client
import re
import socket
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import msgspec

from prom_probe.config.units import parse_duration

_POINTS = 60


class ClientError(Exception):
    """No answer, or an error as the answer; `status` is the exit status that fits (2 for bad input)."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Span(NamedTuple):
    """When to evaluate: at `end_s`, or, with `start_s`, from there every `step_s` (Unix seconds)."""

    start_s: float | None
    end_s: float
    step_s: float


def parse_span(start: str | None, end: str | None, step: str | None, now: float) -> Span:
    """The span that the flags ask for; `now` is what "now" and -DURATION are counted from. ClientError for bad ones."""
    end_s = _time(end or "now", now, "--end")
    if start is None:
        if step is not None:
            raise ClientError("--step goes with --start", 2)
        return Span(None, end_s, 0.0)
    start_s = _time(start, now, "--start")
    return Span(start_s, end_s, _step(step, end_s - start_s))


def fetch(url: str, expr: str, span: Span) -> bytes:
    """The API's JSON for an instant query, or, with a start, a range query. ClientError for anything else."""
    if span.start_s is None:
        return _post(url, "/api/v1/query", {"query": expr, "time": f"{span.end_s:.3f}"})
    times = {"start": f"{span.start_s:.3f}", "end": f"{span.end_s:.3f}", "step": f"{span.step_s:.3f}"}
    return _post(url, "/api/v1/query_range", {"query": expr, **times})


def _time(text: str, now: float, flag: str) -> float:
    if text == "now":
        return now
    try:
        if text.startswith("-") and not re.fullmatch(r"-[0-9.]+", text):
            return now - parse_duration(text[1:])
        return float(text) if re.fullmatch(r"[0-9.]+", text) else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ClientError(f"{flag}: not Unix seconds, RFC 3339 or -DURATION: {text!r}", 2) from None


def _step(text: str | None, span_s: float) -> float:
    if text is None:
        return max(1.0, round(span_s / _POINTS))
    try:
        return float(text) if re.fullmatch(r"[0-9.]+", text) else parse_duration(text)
    except ValueError as error:
        raise ClientError(f"--step: {error}", 2) from None


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
    """The connection, what its paths begin with, and the headers that a user in the URL asks for."""
    if url.startswith("unix:"):
        return UnixConnection(url[5:]), "", {}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ClientError(f"--url: {error}: {_without_user(url)!r}", 2) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(f"--url: not http://HOST:PORT or unix:PATH: {_without_user(url)!r}", 2)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=60), parts.path.rstrip("/"), _credentials(parts)


def _without_user(url: str) -> str:
    """The URL as it may be printed."""
    return re.sub(r"//[^/]*@", "//", url)


def _credentials(parts: SplitResult) -> dict[str, str]:
    """Basic authentication by the user and the password of a URL, both percent-encoded there."""
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


def render(answer: bytes) -> str:
    """The answer as text: a line a series, for ranges its points below it. ClientError if it is no API's answer."""
    try:
        decoded = msgspec.json.decode(answer)
        data = decoded["data"]
        lines = _RENDERERS[data["resultType"]](data["result"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise ClientError("the answer is not Prometheus's JSON") from None
    notes = [f"{kind[:-1]}: {text}" for kind in ("warnings", "infos") for text in decoded.get(kind) or ()]
    return "\n".join([*(lines or ["(no data)"]), *notes])


def _series_name(metric: dict[str, str]) -> str:
    inner = ", ".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in sorted(metric.items()) if k != "__name__")
    return f"{metric.get('__name__', '')}{{{inner}}}" if inner or "__name__" not in metric else metric["__name__"]


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _render_value(result: Any) -> list[str]:
    return [str(result[1])]


def _render_vector(result: Any) -> list[str]:
    rows = [(_series_name(series["metric"]), series["value"][1]) for series in result]
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _render_matrix(result: Any) -> list[str]:
    lines = []
    for series in result:
        lines.append(_series_name(series["metric"]))
        lines += [f"  {_clock(t)}  {value}" for t, value in series["values"]]
    return lines


_RENDERERS = {
    "scalar": _render_value,
    "string": _render_value,
    "vector": _render_vector,
    "matrix": _render_matrix,
}
