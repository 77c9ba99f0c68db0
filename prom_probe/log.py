"""Log lines on stderr, logfmt or JSON, one write a line, UTC; the logging package would cost 1 MB a process."""

import os
import time
from types import TracebackType

import msgspec

# The same message is written so often in so many seconds; then it is counted, and the next one tells how often.
_BURST, _PERIOD_S = 10, 10.0
_MOST_MESSAGES = 100

_PACKAGE = os.path.dirname(__file__) + os.sep

LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}


class Log:
    """Callable as `log(level, message, **fields)`. Lines below `level` are not written; nor is anything raised."""

    def __init__(self, level: str = "info", fmt: str = "logfmt", component: str = "") -> None:
        self._level = level
        self._format = fmt
        self._component = component
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # begin of its period, and how often since

    def named(self, component: str) -> "Log":
        """The same log for another component (a worker)."""
        return Log(self._level, self._format, component)

    def change(self, level: str, fmt: str) -> None:
        """Go on with another level and format; logs that were named before are their own."""
        self._level, self._format = level, fmt

    def __call__(self, level: str, message: str, **fields: object) -> None:
        if LEVELS[level] < LEVELS[self._level]:
            return
        now = time.time()
        held_back = self._held_back(level, message)
        if held_back is None:
            return
        if held_back:
            fields["repeated"] = held_back
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        record = {"ts": stamp, "level": level, "component": self._component, "msg": message, **fields}
        if self._format == "json":
            line = msgspec.json.encode({k: v if isinstance(v, int | float) else str(v) for k, v in record.items()})
        else:
            line = " ".join(f"{k}={_quoted(str(v))}" for k, v in record.items()).encode(errors="backslashreplace")
        try:
            os.write(2, line + b"\n")
        except OSError:
            pass  # nobody reads it; that must not end a worker

    def _held_back(self, level: str, message: str) -> int | None:
        """How many lines like this were not written before it; None if it is not to be written either."""
        now_s, key = time.monotonic(), (level, message)
        began_s, count = self._seen.get(key, (now_s, 0))
        if now_s - began_s >= _PERIOD_S:
            self._seen[key] = (now_s, 1)
            return max(0, count - _BURST)
        if len(self._seen) >= _MOST_MESSAGES and key not in self._seen:
            self._seen.clear()
        self._seen[key] = (began_s, count + 1)
        return 0 if count < _BURST else None


def describe_error(error: BaseException) -> str:
    """A bug in one line, with the place that raised it: "TypeError: … at exposition/text.py:93".

    For an error from a library, the place is the line of ours that called it.
    """
    place = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(_PACKAGE) or not place:
            place = f" at {file.removeprefix(_PACKAGE)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{place}"


def _quoted(text: str) -> str:
    if text and not any(c in ' "=\\' or not c.isprintable() for c in text):
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    return c if c.isprintable() else c.encode("unicode_escape").decode()
