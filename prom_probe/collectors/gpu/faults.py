"""Faults of GPUs: every fault is counted, and each kind is logged once until it is over."""

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.source import GpuError

# A fault that comes and goes is logged at most once in this time.
_AGAIN_S = 60.0
# A fault is over after this many collections in a row without it.
_OVER = 3
_MOST = 500


class Faults:
    """`counts` has the faults by call and code. Call `note` for each failure, and `end` after each collection."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.counts: dict[tuple[str, str], int] = {}
        self._quiet: dict[tuple[str, str, str], int] = {}  # active faults: collections since they last occurred
        self._logged_s: dict[tuple[str, str, str], float] = {}

    def note(self, where: str, error: GpuError, *, count: bool = True) -> None:
        """`where` names the GPU or the source."""
        if count:
            kind = error.call, error.code
            self.counts[kind] = self.counts.get(kind, 0) + 1
        key = where, error.call, error.code
        if key not in self._quiet and len(self._logged_s) < _MOST:
            now = self._context.monotonic()
            if now - self._logged_s.get(key, -_AGAIN_S) >= _AGAIN_S:
                self._logged_s[key] = now
                self._context.log("warn", f"{where}: {error} ({error.code})")
        self._quiet[key] = -1

    def end(self) -> None:
        for key, quiet in list(self._quiet.items()):
            self._quiet[key] = quiet + 1
            if quiet + 1 >= _OVER:
                del self._quiet[key]
                where, call, code = key
                self._context.log("info", f"{where}: {call}: {code} is over")
