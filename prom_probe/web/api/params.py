"""Parameters of a request: from URL and body together, times, durations, limits, escaped names."""

from __future__ import annotations

import re
from datetime import UTC

from prom_probe.web.api.multipart import MULTIPART, form_fields
from prom_probe.web.api.reply import ApiError, invalid
from prom_probe.web.http.message import Request

# The bounds of "all time": milliseconds that a float64 still represents exactly.
MIN_TIME_MS, MAX_TIME_MS = -(1 << 53), 1 << 53

# Prometheus's own first and last millisecond, which clients send for "all time".
_ALL_TIME = {
    "-292273086-05-16T16:47:06Z": MIN_TIME_MS,
    "292277025-08-18T07:12:54.999999999Z": MAX_TIME_MS,
}

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_UNITS = (
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
)
_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit, _ in _UNITS) + "(?:([0-9]+)ms)?")
_MAX_DURATION_MS = (1 << 63) // 1_000_000

_HEX_DIGITS = "0123456789abcdefABCDEF"
_BYTE_OF = {(high + low).encode(): bytes((int(high + low, 16),)) for high in _HEX_DIGITS for low in _HEX_DIGITS}

FORM = "application/x-www-form-urlencoded"


class Parameters:
    """A request's parameters by name. The first of a name counts.

    Those of a form come before the URL's, those of a multipart form after them, as in Prometheus.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def get(self, name: str, default: str = "") -> str:
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])


def parameters_of(request: Request) -> Parameters:
    """The request's parameters. Raises ApiError where they are badly encoded."""
    values: dict[str, list[str]] = {}
    content_type = request.headers.get("content-type", "") if request.body else ""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM:
        _parse_parameters(request.body, values)
    if request.query:
        _parse_parameters(request.query, values)
    if kind == MULTIPART:
        for name, value in form_fields(content_type, request.body):
            values.setdefault(name, []).append(value)
    return Parameters(values)


def _parse_parameters(raw: bytes, into: dict[str, list[str]]) -> None:
    for pair in raw.split(b"&"):
        if pair:
            raw_name, _, raw_value = pair.partition(b"=")
            name = unquote(raw_name, plus=True)
            value = unquote(raw_value, plus=True)
            values = into.get(name)
            if values is None:
                into[name] = [value]
            else:
                values.append(value)


def unquote(raw: bytes, *, plus: bool = False) -> str:
    """Percent-decoded text; with `plus`, "+" is a space, as in forms. ApiError for a bad escape or bad UTF-8."""
    if plus and b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        first, *parts = raw.split(b"%")
        pieces = [first]
        for part in parts:
            byte = _BYTE_OF.get(part[:2])
            if byte is None:
                escape = part[:2].decode("latin-1")
                raise ApiError("bad_data", f'error parsing form values: invalid URL escape "%{escape}"')
            pieces += (byte, part[2:])
        raw = b"".join(pieces)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ApiError("bad_data", "error parsing form values: invalid UTF-8") from None


def parse_time(text: str) -> int:
    """Milliseconds since the epoch, from decimal seconds or RFC 3339. Raises ValueError with Prometheus's text."""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if abs(seconds) <= MAX_TIME_MS / 1000:
            return round(seconds * 1000)
    elif _RFC3339.fullmatch(text):
        from datetime import datetime, timedelta

        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:  # such as 31 February
            pass
        else:
            return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    elif text in _ALL_TIME:
        return _ALL_TIME[text]
    raise ValueError(f"cannot parse {_quoted(text)} to a valid timestamp")


def parse_duration(text: str) -> int:
    """Milliseconds, from decimal seconds or "1h30m". Raises ValueError with Prometheus's text."""
    if _NUMBER.fullmatch(text):
        ms = float(text) * 1000
    elif text and (match := _DURATION.fullmatch(text)):
        *whole, last = match.groups()
        ms = sum(int(n) * unit for n, (_, unit) in zip(whole, _UNITS, strict=True) if n) + int(last or 0)
    else:
        raise ValueError(f"cannot parse {_quoted(text)} to a valid duration")
    if abs(ms) > _MAX_DURATION_MS:
        raise ValueError(f"cannot parse {_quoted(text)} to a valid duration. It overflows int64")
    return round(ms)


def time_param(params: Parameters, name: str, default_ms: int) -> int:
    """The time in parameter `name`, `default_ms` where it is absent."""
    text = params.get(name)
    if not text:
        return default_ms
    try:
        return parse_time(text)
    except ValueError as error:
        raise invalid(name, f"Invalid time value for '{name}': {error}") from None


def duration_param(params: Parameters, name: str) -> int | None:
    """The duration in parameter `name` in milliseconds, None where it is absent."""
    text = params.get(name)
    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        raise invalid(name, error) from None


def limit_param(params: Parameters, name: str = "limit") -> int:
    """The most results to return; 0 for no limit."""
    text = params.get(name)
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
        raise invalid(name, f"strconv.Atoi: parsing {_quoted(text)}: invalid syntax")
    if int(text) < 0:
        raise invalid(name, "limit must be non-negative")
    return int(text)


_ESCAPED = re.compile(r"U__(?:[^_]|__|_[0-9a-fA-F]{1,6}_)*")
_ESCAPE = re.compile(r"__|_([0-9a-fA-F]{1,6})_")


def unescape_name(name: str) -> str:
    """The label name behind the `U__` form in which clients send UTF-8 names; other names unchanged."""
    if not _ESCAPED.fullmatch(name):
        return name
    try:
        unescaped = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else "_", name[3:])
        unescaped.encode()
    except ValueError:  # not a code point, or a lone surrogate
        return name
    return unescaped


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
