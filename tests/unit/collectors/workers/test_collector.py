"""The workers collector: our own processes as the supervisor knows them, and their cost held over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.collectors.base import WorkerState
from prom_probe.collectors.workers.collector import WorkersCollector
from tests.support.collector_harness import Machine


class Supervised:
    """A machine with workers."""

    def __init__(self, root: Path) -> None:
        self.machine = Machine(root)
        self.states: list[WorkerState] = []

    def make(self) -> WorkersCollector:
        return self.machine.make(WorkersCollector, supervisor_pid=lambda: 10, read_workers=lambda: self.states)

    def collect(self, collector: WorkersCollector) -> dict[str, float]:
        """Rows of workers, without the prefix they have in common."""
        row = self.machine.collect(collector)
        return {
            series.removeprefix("prom_probe_worker_"): value for series, value in row.items() if "worker_" in series
        }


@pytest.fixture
def supervised(tmp_path: Path) -> Supervised:
    supervised = Supervised(tmp_path)
    supervised.machine.proc.process(10, 1, start=12345)
    supervised.machine.proc.process(11, 10, utime=30, stime=20, resident=100)
    supervised.states = [WorkerState("process", 11, True, 0)]
    return supervised


def test_a_worker_is_told_with_its_cost(supervised: Supervised) -> None:
    """All of it is always exposed."""
    collector = supervised.make()
    assert supervised.collect(collector) == {
        'up{worker="process"}': 1,
        'restarts_total{worker="process"}': 0,
        'cpu_seconds_total{worker="process"}': 0.5,
        'resident_memory_bytes{worker="process"}': 100 * 4096,
    }
    assert all(column.exposed for column in collector.layout.columns)


def test_the_start_is_the_supervisors(supervised: Supervised) -> None:
    """Unix time."""
    assert supervised.machine.collect(supervised.make())["prom_probe_start_time_seconds"] == 1_000_123.45


def test_cpu_time_is_held_over_restarts(supervised: Supervised) -> None:
    """While there is no process there is no memory, but the counter stays."""
    collector = supervised.make()
    supervised.collect(collector)
    supervised.machine.proc.end(11)
    supervised.states = [WorkerState("process", 0, False, 0)]
    assert supervised.collect(collector) == {
        'up{worker="process"}': 0,
        'restarts_total{worker="process"}': 0,
        'cpu_seconds_total{worker="process"}': 0.5,
    }
    supervised.machine.proc.process(12, 10, utime=5, resident=7)
    supervised.states = [WorkerState("process", 12, True, 1)]
    assert supervised.collect(collector) == {
        'up{worker="process"}': 1,
        'restarts_total{worker="process"}': 1,
        'cpu_seconds_total{worker="process"}': 0.55,
        'resident_memory_bytes{worker="process"}': 7 * 4096,
    }


@pytest.mark.parametrize(("pid", "ticks", "expected"), [(11, 60, 0.6), (12, 5, 0.55)])
def test_a_successor_counts_a_living_worker_once(supervised: Supervised, pid: int, ticks: int, expected: float) -> None:
    """It may be the worker itself that was restarted, or another one that lives on."""
    collector = supervised.make()
    supervised.collect(collector)
    successor = supervised.make()
    successor.restore(collector.checkpoint())
    supervised.machine.proc.process(pid, 10, utime=ticks)
    supervised.states = [WorkerState("process", pid, True, 1)]
    assert supervised.collect(successor)['cpu_seconds_total{worker="process"}'] == expected


def test_a_strange_checkpoint_is_ignored(supervised: Supervised) -> None:
    """It begins anew."""
    collector = supervised.make()
    collector.restore(b"\xc1")
    assert supervised.collect(collector)['cpu_seconds_total{worker="process"}'] == 0.5


def test_a_worker_that_is_no_more_ends_its_series(supervised: Supervised) -> None:
    """After a reload, say."""
    collector = supervised.make()
    supervised.collect(collector)
    supervised.states = []
    assert supervised.collect(collector) == {}
