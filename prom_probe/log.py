"""Log lines on stderr, logfmt or JSON, one write a line, UTC; the logging package would cost 1 MB a process."""

import os
import time

import msgspec

LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}


class Log:
    """Callable as `log(level, message, **fields)`. Lines below `level` are not written; nor is anything raised."""

    def __init__(self, level: str = "info", fmt: str = "logfmt", component: str = "") -> None:
        self._level = level
        self._format = fmt
        self._component = component

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


def _quoted(text: str) -> str:
    if text and not any(c in ' "=\\' or not c.isprintable() for c in text):
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    return c if c.isprintable() else c.encode("unicode_escape").decode()
