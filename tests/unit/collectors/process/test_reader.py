"""What the process collector reads of whom, on made-up machines and by made-up CPU clocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from prom_probe.sources.process_files import ProcessFiles
from tests.support.collector_harness import Machine

PID = Watch("job", "pid", "100")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    machine.proc.process(50, 1, b"other", utime=999, minflt=1)
    return machine


class Clocks:
    """The CPU clock of each process that has one."""

    def __init__(self, *pids: int) -> None:
        self.ns = dict.fromkeys(pids, 10**9)
        self.before_reading: Callable[[int], object] = lambda pid: None

    def __call__(self, pid: int) -> int:
        self.before_reading(pid)
        if pid not in self.ns:
            raise ProcessLookupError
        return self.ns[pid]

    def run(self, pid: int, ns: int = 1) -> None:
        self.ns[pid] += ns


def of(row: dict[str, float], name: str, labels: str = "") -> float:
    return row[f'proctree_{name}{{{labels}tree="job"}}']


def user(row: dict[str, float]) -> float:
    return of(row, "cpu_seconds_total", 'mode="user", ')


def test_the_memory_of_a_process_that_rests_is_read_too(machine: Machine) -> None:
    """It can be swapped out at any time; the rest of it has not changed."""
    clocks = Clocks(100)
    machine.proc.process(100, resident=1000, shared=900, shmem=400)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    machine.collect(collector)
    machine.proc.process(100, resident=500, shared=200, shmem=80)
    row = machine.collect(collector)
    assert of(row, "resident_memory_bytes") == 500 * 4096
    assert of(row, "shared_memory_bytes") == 80 << 10
    assert of(row, "file_memory_bytes") == 200 * 4096 - (80 << 10)


@pytest.mark.parametrize("runs", [False, True])
def test_peak_swap_and_limit_are_never_old(machine: Machine, runs: bool) -> None:
    """Where nothing else tells of their change: 8 collections at most, the limit 32."""
    clocks = Clocks(100)
    machine.proc.process(100, peak=400, swap=0, max_fds=10)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    machine.collect(collector, 3)
    machine.proc.process(100, peak=500, swap=7, max_fds=30)
    for second in range(1, 33):
        clocks.run(100, runs)
        row = machine.collect(collector)
        if second >= 8:
            assert of(row, "largest_process_memory_peak_bytes") == 500 << 10
            assert of(row, "swap_memory_bytes") == 7 << 10
    assert of(row, "open_fds_ratio") == 0.1


def test_an_exec_is_read_whole(machine: Machine) -> None:
    """The peak is the new program's."""
    clocks = Clocks(100)
    machine.proc.process(100, comm=b"sh", peak=400)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks, local_after=1)
    machine.collect(collector, 3)
    machine.proc.process(100, comm=b"python", peak=70, max_fds=7)
    clocks.run(100)
    row = machine.collect(collector)
    assert row['proctree_process_memory_peak_bytes{comm="python", pid="100", tree="job"}'] == 70 << 10
    assert row['proctree_process_max_fds{comm="python", pid="100", tree="job"}'] == 7


def test_a_clock_that_is_another_process_s_is_noticed_at_once(machine: Machine) -> None:
    """It says less than before."""
    clocks = Clocks(*range(100, 220))
    for pid in clocks.ns:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    machine.collect(collector, 5)
    for pid in range(200, 208):
        machine.proc.process(pid, 1, start=50_000)
        clocks.ns[pid] = 10**8
    assert of(machine.collect(collector), "processes") == 112


def test_a_process_without_a_clock_is_read_each_time(machine: Machine) -> None:
    """And costs no other: a kernel without such clocks, or one that denies some."""
    clocks = Clocks(*(pid for pid in range(100, 110) if pid % 3))
    for pid in range(100, 110):
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    for second in range(1, 4):
        for pid in range(100, 110):
            machine.proc.process(pid, 100 if pid > 100 else 1, utime=100 * second)
        for pid in clocks.ns:
            clocks.run(pid)
        assert user(machine.collect(collector)) == 10 * second


def test_one_file_that_cannot_be_read_costs_no_other(machine: Machine) -> None:
    """It is logged, and what it said last stays."""
    clocks = Clocks(100)
    machine.proc.process(100, read=5)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    machine.collect(collector)
    machine.proc.process(100, read=9, fds=7, resident=77, waited=10**9)
    (machine.proc.root / "100" / "io").write_text("rubbish\n")
    clocks.run(100)
    row = machine.collect(collector)
    assert of(row, "io_read_bytes_total") == 5
    assert of(row, "open_fds") == 7
    assert of(row, "resident_memory_bytes") == 77 * 4096
    assert of(row, "cpu_waiting_seconds_total") == 1
    assert [level for level, _ in machine.log] == ["warn"]


def test_a_file_that_is_there_again_with_the_same_text_counts_again(machine: Machine) -> None:
    """Its series come back."""
    clocks = Clocks(100)
    machine.proc.process(100, read=5)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    machine.collect(collector)
    file = machine.proc.root / "100" / "io"
    text = file.read_bytes()
    file.unlink()
    clocks.run(100)
    assert 'proctree_io_read_bytes_total{tree="job"}' not in machine.collect(collector)
    file.write_bytes(text)
    clocks.run(100)
    assert of(machine.collect(collector), "io_read_bytes_total") == 5


@pytest.mark.parametrize("late", [False, True])
def test_a_child_that_is_reaped_while_its_tree_is_read_counts_once(machine: Machine, late: bool) -> None:
    """With its IO. Just before its parent is read, which has joined before or after its children: many that rest."""
    children = list(range(101, 141))
    clocks = Clocks(100, *children)
    for pid in children:
        machine.proc.process(pid, 100, b"python", start=2000, utime=500, minflt=300, read=4096)
    collector = machine.make(ProcessCollector, Watch("job", "comm", "python"), process_clock=clocks)
    reaped: list[int] = []

    def write_parent() -> None:
        count = len(reaped)
        machine.proc.process(
            100,
            1,
            b"python",
            start=1000,
            utime=500,
            minflt=300,
            cutime=500 * count,
            cminflt=300 * count,
            read=4096 * (1 + count),
        )

    if not late:
        write_parent()
    machine.collect(collector, 3)
    write_parent()
    machine.collect(collector, 3)

    def reap(pid: int) -> None:
        if pid != 100:
            return
        child = children.pop()
        reaped.append(child)
        del clocks.ns[child]
        machine.proc.end(child)
        write_parent()
        clocks.run(100)

    clocks.before_reading = reap
    for second in range(1, 9):
        row = machine.collect(collector)
        assert user(row) == 41 * 5
        assert of(row, "io_read_bytes_total") == 41 * 4096
        assert of(row, "processes") == 41 - second


def test_a_process_that_ends_while_it_is_read_brings_back_what_it_had_reaped(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stat has the child's time, which is held no longer; its own comes back with the root's next reading."""
    clocks = Clocks(100, 101, 102)
    machine.proc.process(100, utime=100, minflt=300)
    machine.proc.process(101, 100, utime=100, minflt=400)
    machine.proc.process(102, 101, utime=100, minflt=500)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    assert user(machine.collect(collector, 3)) == 3
    machine.proc.end(102)
    del clocks.ns[102]
    machine.proc.process(101, 100, utime=100, minflt=400, cutime=100, cminflt=500)
    clocks.run(101)
    read_io = ProcessFiles.io

    def end_before(files: ProcessFiles) -> bytes:
        if 101 in clocks.ns and files is collector._processes[101].files:
            machine.proc.end(101)
            del clocks.ns[101]
            machine.proc.process(100, utime=100, minflt=300, cutime=200, cminflt=900)
            clocks.run(100)
        return read_io(files)

    monkeypatch.setattr(ProcessFiles, "io", end_before)
    for _ in range(4):
        assert user(machine.collect(collector)) == 3
    assert of(machine.collect(collector), "processes") == 1


def test_what_a_parent_gained_once_hides_no_later_child(machine: Machine) -> None:
    """It reaped a child that nobody saw; then another ends, and the kernel itself reaps it while the parent rests."""
    clocks = Clocks(100, 101)
    machine.proc.process(100, utime=100, minflt=300)
    machine.proc.process(101, 100, utime=50, minflt=400)
    collector = machine.make(ProcessCollector, PID, process_clock=clocks)
    machine.collect(collector)
    machine.proc.process(100, utime=100, minflt=300, cutime=100, cminflt=500)
    clocks.run(100)
    assert user(machine.collect(collector)) == 2.5
    machine.proc.end(101)
    del clocks.ns[101]
    assert user(machine.collect(collector)) == 2.5
    machine.proc.process(100, utime=130, minflt=300, cutime=100, cminflt=500)
    clocks.run(100)
    assert user(machine.collect(collector)) == 2.8
