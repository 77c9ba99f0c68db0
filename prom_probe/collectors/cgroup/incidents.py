"""What happens to a cgroup between two collections: OOM kills, and the beginning of throttling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prom_probe.model.run_event import EventType

# Throttling that pauses for less than this many seconds goes on; afterwards it begins anew.
_PAUSE_S = 10.0


class CgroupIncidents:
    """Compares a cgroup's counters with those before. `forget` them when it is another cgroup."""

    def __init__(self) -> None:
        self._before: Mapping[str, float] = {}
        self._throttled_s = float("-inf")  # when it last was

    def forget(self) -> None:
        self._before = {}

    def look(self, values: Mapping[str, float], now_s: float) -> Iterator[tuple[EventType, str]]:
        """What happened since the last call, in words. `values` are by short name."""
        killed, throttled = self._risen(values, "oom_kills"), self._risen(values, "throttled_periods")
        self._before = {name: values[name] for name in ("oom_kills", "throttled_periods") if name in values}
        if killed:
            processes = "1 process" if killed == 1 else f"{killed:.0f} processes"
            yield "oom_kill", f"{processes} of the cgroup killed because memory ran out"
        if throttled:
            begun, self._throttled_s = now_s - self._throttled_s > _PAUSE_S, now_s
            if begun:
                cpus = values.get("cpus_effective") or values.get("cpu_limit")
                yield "throttled", f"at its limit of {cpus:g} CPUs" if cpus else "at its CPU limit"

    def _risen(self, values: Mapping[str, float], name: str) -> float:
        return max(0.0, values[name] - self._before[name]) if name in values and name in self._before else 0.0
