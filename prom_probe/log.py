"""Log lines on stderr: logfmt or JSON, one write each, UTC. The logging package would cost 1 MB a process."""

import os
import time
from collections.abc import Callable
from types import TracebackType

import msgspec

from prom_probe.line_writer import MAX_LINE_BYTES, write_line
from prom_probe.model.printable import printable, printable_json

# The same message is written _BURST times in _PERIOD_S; further ones are counted, and the next line has their number.
_BURST, _PERIOD_S = 10, 10.0
_MOST_MESSAGES = 100

_PACKAGE = os.path.dirname(__file__) + os.sep

LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}

# How many characters a text of a line may have: the first of these with which the line is short enough.
_SHORTER = (MAX_LINE_BYTES, 1024, 256, 64, 16)


class Log:
    """Callable as `log(level, message, **fields)`. Lines below `level` are not written.

    It never waits and raises nothing: a line that cannot be written at once is dropped and counted, and when lines
    can be written again, one says how many were not. It writes to the descriptor `fd`; `now_s` is the monotonic clock.
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
        self._dropped = memoryview(bytearray(8)).cast("Q")
        self._untold = 0  # lines dropped since the last that was written
        self._torn = False  # the last one was written in part

    def count_drops(self, cell: memoryview) -> None:
        """Count dropped lines in a cell of shared memory, which nobody else writes."""
        cell[0] += self._dropped[0]
        self._dropped = cell

    def named(self, component: str) -> "Log":
        """The same log for another component, such as a worker."""
        return Log(self._level, self._format, component, fd=self._fd, now_s=self._now_s)

    def change(self, level: str, fmt: str) -> None:
        """Use another level and format from now on. Logs that `named` made before do not change."""
        self._level, self._format = level, fmt

    def __call__(self, level: str, message: str, **fields: object) -> None:
        if LEVELS[level] < LEVELS[self._level]:
            return
        held_back = self._held_back(level, message)
        if held_back is None:
            return
        if held_back:
            fields["repeated"] = held_back
        if self._untold:
            told = self._write(self._line("warn", "log lines dropped: they could not be written", lines=self._untold))
            self._untold = 0 if told else self._untold
        if self._untold or not self._write(self._line(level, message, **fields)):
            self._dropped[0] += 1
            self._untold += 1

    def _write(self, line: bytes) -> bool:
        line = b"\n" * self._torn + line
        written = write_line(self._fd, line)
        if written:
            self._torn = written < len(line)
        return written == len(line)

    def _line(self, level: str, message: str, **fields: object) -> bytes:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        record = {"ts": stamp, "level": level, "component": self._component, "msg": message, **fields}
        line = b""
        for most in _SHORTER:
            line = self._encode({key: _plain(value, most) for key, value in record.items()})
            if len(line) < MAX_LINE_BYTES - 1:  # room for the line feeds before and behind it
                break
        return line + b"\n"

    def _encode(self, record: dict[str, str | int | float]) -> bytes:
        if self._format == "json":
            return printable_json(msgspec.json.encode(record).decode()).encode()
        return " ".join(f"{key}={_quoted(str(value))}" for key, value in record.items()).encode()

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


def _plain(value: object, most: int) -> str | int | float:
    """A number, or a text of at most that many characters that UTF-8 can encode."""
    if isinstance(value, float) or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63):
        return value
    try:
        text = str(value).encode(errors="backslashreplace").decode()
    except Exception as error:
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return text if len(text) <= most else text[: most - 1] + "…"


def _quoted(text: str) -> str:
    if text and text.isprintable() and not any(c in text for c in ' "=\\'):
        return text
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
