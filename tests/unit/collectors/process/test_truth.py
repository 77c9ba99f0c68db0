"""What the process collector says each second, of each process and of the tree, against a machine of known truth."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from tests.support.busy_processes import FIRST, HZ, BusyProcesses
from tests.support.collector_harness import Machine

SECONDS = 10
WINDOW = 6  # collections that are in the window of the maxima
PID = Watch("job", "pid", str(FIRST))
# Maxima of gauges, and of what a counter grows by in a second.
GAUGES = {
    "resident_memory_max_bytes": "resident_memory_bytes",
    "anonymous_memory_max_bytes": "anonymous_memory_bytes",
    "processes_max": "processes",
    "threads_max": "threads",
    "open_fds_max": "open_fds",
}


class Maxima:
    """The largest values of the newest collections."""

    def __init__(self) -> None:
        self._gauges = {name: deque[float](maxlen=WINDOW) for name in GAUGES}
        self._cpus: deque[float] = deque(maxlen=WINDOW)
        self._run_queue: deque[float] = deque(maxlen=WINDOW)
        self._last: tuple[int, int] | None = None

    def truth(self, processes: BusyProcesses, tree: dict[str, float]) -> dict[str, float]:
        for name, gauge in GAUGES.items():
            self._gauges[name].append(tree[f'proctree_{gauge}{{tree="job"}}'])
        everyone = processes.all.values()
        ticks = sum(process.fields["utime"] + process.fields["stime"] for process in everyone)
        waited = sum(process.waited for process in everyone)
        if self._last is not None:
            self._cpus.append((ticks - self._last[0]) / HZ)
            self._run_queue.append((waited - self._last[1]) / 1e9)
        self._last = ticks, waited
        largest = {name: max(values) for name, values in self._gauges.items()}
        if self._cpus:
            largest |= {"cpus_used_max": max(self._cpus), "run_queue_length_max": max(self._run_queue)}
        return {f'proctree_{name}{{tree="job"}}': value for name, value in largest.items()}


@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize("count", [1, 12, 13, 50, 200])
def test_each_second_is_its_own(tmp_path: Path, count: int, rests: bool) -> None:
    """CPU, memory, IO, descriptors, waiting and states: each process's, the tree's, and the maxima over a window."""
    machine = Machine(tmp_path)
    processes = BusyProcesses(machine.proc, count, rests=rests)
    collector = machine.make(
        ProcessCollector, PID, process_clock=processes.clock, local_after=1, max_window_s=WINDOW - 0.5
    )
    maxima = Maxima()
    for second in range(SECONDS):
        row = machine.collect(collector)
        truth = processes.truth_of_tree("job")
        truth |= maxima.truth(processes, truth)
        truth |= dict(processes.truth_of_processes("job"))
        wrong = {series: (row.get(series), value) for series, value in truth.items() if row.get(series) != value}
        assert not wrong, f"second {second}: {len(wrong)} of {len(truth)} series, (said, true)"
        processes.second()
    assert not machine.log
