"""Peaks between two collections, borrowed memory and steps of the clock, on made-up machines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine

PID = Watch("job", "pid", "100")
KIB = 4  # of a page


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    return machine


def pages(row: dict[str, float], name: str) -> float:
    """A series of the tree in pages."""
    return row[f'proctree_{name}{{tree="job"}}'] / 4096


def test_the_maximum_has_one_peak_and_what_the_others_had_at_both_ends(machine: Machine) -> None:
    """Two peaks need not have been at the same moment; what grew afterwards need not have been there at the peak."""
    for pid in (100, 101, 102):
        machine.proc.process(pid, 100 if pid > 100 else 1, resident=10, peak=10 * KIB, start=100)
    collector = machine.make(ProcessCollector, PID)
    assert pages(machine.collect(collector), "resident_memory_max_bytes") == 30
    machine.proc.process(100, 1, resident=20, peak=500 * KIB, start=100)
    machine.proc.process(101, 100, resident=40, peak=300 * KIB, start=100)
    machine.proc.process(102, 100, resident=5, peak=10 * KIB, start=100)
    row = machine.collect(collector)
    assert pages(row, "resident_memory_bytes") == 65
    assert pages(row, "resident_memory_max_bytes") == 500 + 10 + 5
    assert pages(machine.collect(collector, 130), "resident_memory_max_bytes") == 65


def test_a_peak_from_before_the_window_is_not_in_the_maximum(machine: Machine) -> None:
    """A process that is met after days has had its peak at some time; a young one within the window."""
    machine.now = 100_000.0
    machine.proc.process(100, 1, resident=10, peak=900 * KIB, start=100)
    collector = machine.make(ProcessCollector, PID)
    row = machine.collect(collector)
    assert pages(row, "resident_memory_max_bytes") == 10
    assert pages(row, "largest_process_memory_peak_bytes") == 900
    machine.proc.process(101, 100, resident=10, peak=700 * KIB, start=100_000 * 100)
    assert pages(machine.collect(collector), "resident_memory_max_bytes") == 710


def test_an_exec_begins_another_peak(machine: Machine) -> None:
    """VmHWM is the new image's; the tree has had both."""
    machine.proc.process(100, 1, b"big", resident=10, peak=800 * KIB, start=100, stack=1)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)
    machine.proc.process(100, 1, b"small", resident=5, peak=50 * KIB, start=100, stack=2)
    row = machine.collect(collector)
    assert row['proctree_process_memory_peak_bytes{comm="small", pid="100", tree="job"}'] == 50 * 4096
    assert pages(row, "resident_memory_max_bytes") == 50
    assert pages(row, "largest_process_memory_peak_bytes") == 800


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"resident": 1000}, False),
        ({"resident": 1101}, True),
        ({"resident": 899}, True),
        ({"minflt": 7}, False),
        ({"minflt": 8}, True),
        ({"shared": 3}, True),
    ],
)
def test_the_peak_of_what_has_changed_much_is_read_at_once(
    machine: Machine, change: dict[str, Any], read: bool
) -> None:
    """Resident memory by a tenth, or page faults; the three largest always, the others every 8th collection."""
    for pid in (100, 101, 102):
        machine.proc.process(pid, 100 if pid > 100 else 1, resident=9999, peak=9999 * KIB, start=100)
    known: dict[str, Any] = {"resident": 1000, "shared": 2, "start": 200, "minflt": 0}
    machine.proc.process(103, 100, peak=1000 * KIB, **known)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 2)
    name = 'proctree_process_memory_peak_bytes{comm="app", pid="103", tree="job"}'
    machine.proc.process(103, 100, peak=5000 * KIB, **{**known, **change})
    machine.proc.process(102, 100, resident=9999, peak=10_000 * KIB, start=100)
    row = machine.collect(collector)
    assert (row[name] == 5000 * 4096) is read
    assert row['proctree_process_memory_peak_bytes{comm="app", pid="102", tree="job"}'] == 10_000 * 4096
    assert machine.collect(collector, 8)[name] == 5000 * 4096


def test_a_fork_s_copy_that_is_as_large_as_its_parent_has_memory_of_its_own(machine: Machine) -> None:
    """Nobody waits for its exec."""
    machine.proc.process(100, 1, resident=1000, stack=77)
    machine.proc.process(101, 100, resident=1000, start=200, stack=77)
    row = machine.collect(machine.make(ProcessCollector, PID))
    assert pages(row, "resident_memory_bytes") == 2000
    assert row['proctree_process_resident_memory_bytes{comm="app", pid="101", tree="job"}'] == 1000 * 4096


def test_a_thread_that_has_vforked_waits_too(machine: Machine) -> None:
    """While the main thread of its process sleeps."""
    tasks = {100: ("S", 1, 1, 0), 105: ("D", 1, 1, 0)}
    machine.proc.process(100, 1, resident=1000, stack=77, threads=2, tasks=tasks)
    machine.proc.process(101, 100, resident=1000, start=200, stack=77)
    row = machine.collect(machine.make(ProcessCollector, PID))
    assert pages(row, "resident_memory_bytes") == 1000


@pytest.mark.parametrize("stack", [0, 77])
def test_between_vfork_and_exec_memory_counts_as_the_parents(machine: Machine, stack: int) -> None:
    """Known by the same stack, the same memory, and a parent that waits."""
    machine.proc.process(100, 1, resident=1000, state="D", stack=stack)
    machine.proc.process(101, 100, resident=1000, start=200, stack=stack)
    machine.proc.process(102, 100, b"forked", resident=990, start=200, stack=stack)
    collector = machine.make(ProcessCollector, PID)
    for _ in range(3):
        row = machine.collect(collector)
        assert pages(row, "resident_memory_bytes") == 1990
        assert not any('pid="101"' in series and "memory" in series for series in row)
    machine.proc.process(101, 100, b"true", resident=7, start=200, stack=stack and stack + 1)
    row = machine.collect(collector)
    assert pages(row, "resident_memory_bytes") == 1997
    assert row['proctree_process_resident_memory_bytes{comm="true", pid="101", tree="job"}'] == 7 * 4096


def test_a_vforked_child_that_ends_while_it_is_looked_at_has_no_peak(machine: Machine) -> None:
    """What was read of it was its parent's memory; when it is looked at it has executed its program and ended."""
    child = {"pid": 101, "ppid": 100, "start": 100_000}
    asked = iter(range(4))

    def own_pids() -> list[int]:
        if next(asked) == 3:  # asked for the second time in the second collection: after the readings
            machine.proc.process(**child, state="Z", resident=0, peak=0, stack=78)  # type: ignore[arg-type]
        return []

    machine.proc.process(100, 1, resident=1000, stack=77)
    collector = machine.make(ProcessCollector, PID, own_pids=own_pids)
    machine.collect(collector)
    machine.proc.process(**child, resident=1000, stack=77)  # type: ignore[arg-type]
    row = machine.collect(collector)
    assert pages(row, "resident_memory_bytes") == pages(row, "resident_memory_max_bytes") == 1000


@pytest.mark.parametrize("stack", [0, 77])
def test_a_copy_of_our_own_image_is_not_the_commands(machine: Machine, stack: int) -> None:
    """Its series, its memory and its peak begin with its exec."""
    machine.own = [10]
    machine.proc.process(10, 1, b"prom-probe", resident=3000, stack=stack)
    machine.proc.process(100, 10, b"prom-probe", resident=3000, peak=12_000, start=200, stack=stack)
    collector = machine.make(ProcessCollector, PID)
    row = machine.collect(collector, 4)
    assert row['proctree_processes{tree="job"}'] == 1
    assert pages(row, "resident_memory_bytes") == 0
    assert "proctree_process_" not in str(row)
    machine.proc.process(100, 10, b"sleep", resident=300, peak=1200, start=200, stack=stack and 5)
    row = machine.collect(collector)
    assert pages(row, "resident_memory_max_bytes") == 300
    assert pages(row, "largest_process_memory_peak_bytes") == 300
    assert 'proctree_process_info{comm="sleep", pid="100", ppid="10", tree="job"}' in row


def test_start_times_follow_a_step_of_the_clock_and_nothing_less(machine: Machine) -> None:
    """An hour is a step; the clock's slow adjustment leaves the series as it is."""
    machine.proc.process(100, 1, start=500)
    collector = machine.make(ProcessCollector, PID)
    name = 'proctree_process_start_time_seconds{comm="app", pid="100", tree="job"}'
    assert machine.collect(collector)[name] == 1_000_005
    machine.booted += 0.1
    assert machine.collect(collector)[name] == 1_000_005
    machine.booted += 3600
    row = machine.collect(collector)
    assert row[name] == row['proctree_start_time_seconds{tree="job"}'] == pytest.approx(1_003_605.1)
    machine.booted -= 7200
    machine.proc.process(101, 100, start=700)
    row = machine.collect(collector)
    assert row[name] == pytest.approx(996_405.1)
    assert row[name.replace("100", "101")] == pytest.approx(996_407.1)
    assert row['proctree_counters_start_time_seconds{tree="job"}'] == pytest.approx(996_405.1)


def test_a_command_whose_main_thread_ends_at_once_has_its_own_image(machine: Machine) -> None:
    """Its live thread tells its stack, memory and state; the main one has none of them any more."""
    machine.own = [10]
    machine.proc.process(10, 1, b"prom-probe", stack=77)
    machine.proc.process(100, 10, b"prom-probe", resident=3000, start=200, stack=77)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)
    machine.proc.process(100, 10, b"leader", resident=0, state="Z", threads=2, start=200, peak=0)
    thread = machine.proc.root / "100" / "task" / "101"
    machine.proc.process(101, 10, b"leader", resident=500, peak=2400, start=200, stack=5, fds=7)
    shutil.move(machine.proc.root / "101", thread)
    row = machine.collect(collector)
    assert pages(row, "resident_memory_bytes") == 500
    assert pages(row, "largest_process_memory_peak_bytes") == 600
    assert row['proctree_open_fds{tree="job"}'] == 7
    assert row['proctree_processes_state{state="sleeping", tree="job"}'] == 1
    assert row['proctree_process_resident_memory_bytes{comm="leader", pid="100", tree="job"}'] == 500 * 4096
