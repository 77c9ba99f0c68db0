"""Log lines on stderr: logfmt or JSON, one write each, UTC. The logging package would cost 1 MB a process."""

import os
import time
from collections.abc import Callable
from types import TracebackType

import msgspec

# The same message is written _BURST times in _PERIOD_S; further ones are counted, and the next line has their number.
_BURST, _PERIOD_S = 10, 10.0
_MOST_MESSAGES = 100

_PACKAGE = os.path.dirname(__file__) + os.sep

LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}


class Log:
    """Callable as `log(level, message, **fields)`. Lines below `level` are not written; nothing is raised.

    It writes to the descriptor `fd`; `now_s` is the monotonic clock.
    """

    def __init__(
        self,
        level: str = "info",
        fmt: str = "logfmt",
        component: str = "",
        *,
        fd: int = 2,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fd = fd
        self._now_s = now_s
        self._level = level
        self._format = fmt
        self._component = component
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # the start of its period, and its count since

    def named(self, component: str) -> "Log":
        """The same log for another component, such as a worker."""
        return Log(self._level, self._format, component, fd=self._fd, now_s=self._now_s)

    def change(self, level: str, fmt: str) -> None:
        """Use another level and format from now on. Logs that `named` made before do not change."""
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
            os.write(self._fd, line + b"\n")
        except OSError:
            pass  # a closed stderr must not end a worker

    def _held_back(self, level: str, message: str) -> int | None:
        """How many lines like this were held back before it; None if this one is held back too."""
        now_s, key = self._now_s(), (level, message)
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
