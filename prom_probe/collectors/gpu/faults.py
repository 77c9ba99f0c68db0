"""Faults of GPUs: each one counted, each kind told once until it is over."""

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.source import GpuError

# A fault that comes and goes is told again at the earliest after so long.
_AGAIN_S = 60.0
# Collections without it, in a row, after which a fault is over.
_OVER = 3
_MOST = 500


class Faults:
    """`counts` by call and code; `note` for each failure, `end` after each collection."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.counts: dict[tuple[str, str], int] = {}
        self._quiet: dict[tuple[str, str, str], int] = {}  # active faults: collections since the last of them
        self._told_s: dict[tuple[str, str, str], float] = {}

    def note(self, where: str, error: GpuError, *, count: bool = True) -> None:
        """`where` names the GPU or the source."""
        if count:
            kind = error.call, error.code
            self.counts[kind] = self.counts.get(kind, 0) + 1
        key = where, error.call, error.code
        if key not in self._quiet and len(self._told_s) < _MOST:
            now = self._context.monotonic()
            if now - self._told_s.get(key, -_AGAIN_S) >= _AGAIN_S:
                self._told_s[key] = now
                self._context.log("warn", f"{where}: {error} ({error.code})")
        self._quiet[key] = -1

    def end(self) -> None:
        for key, quiet in list(self._quiet.items()):
            self._quiet[key] = quiet + 1
            if quiet + 1 >= _OVER:
                del self._quiet[key]
                where, call, code = key
                self._context.log("info", f"{where}: {call}: no {code} any more")
