"""How often the process collector reads what of whom, on made-up machines and by made-up CPU clocks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.collectors.process.process import Process
from prom_probe.collectors.process.reader import ProcessReader
from prom_probe.collectors.process.tree import Tree
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import Descriptors
from prom_probe.sources.process_files import ProcessFiles
from tests.support.collector_harness import Machine
from tests.support.fake_proc import stat_line

PID = Watch("job", "pid", "100")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    machine.proc.process(50, 1, b"other", utime=999, minflt=1)
    return machine


def test_a_listing_puts_off_what_is_read_in_turn(machine: Machine) -> None:
    """Once in sixteen collections at most, here where each lists: all that changes is seen within so many turns."""
    pids = range(100, 140)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 3)
    collector._reader._clocks = True  # those of made-up processes, below
    turns = []
    with (
        patch.object(ProcessReader, "_read_kinds", autospec=True, side_effect=ProcessReader._read_kinds) as read,
        patch("prom_probe.collectors.process.reader.clock_gettime_ns", lambda clock: round(machine.now * 1e9)),
    ):
        for tick in range(40):
            for pid in pids:
                line = stat_line(pid, b"app", 100 if pid > 100 else 1, {"utime": tick + 1})
                (machine.proc.root / str(pid) / "stat").write_bytes(line)
            read.reset_mock()
            machine.collect(collector)
            turns.append({(call.args[1].pid, call.args[3]) for call in read.call_args_list})
    light = [number for number, turn in enumerate(turns) if not turn]
    assert light and all(later - light[0] == 16 * i + i for i, later in enumerate(light))
    children = [{(pid, kinds) for pid, kinds in turn if pid > 100} for turn in turns]
    assert all(len({kinds for _, kinds in turn}) <= 1 for turn in children[8:])
    for first in range(8, 32):  # once the number of turns has settled: 4, then 3 kinds, one put off
        assert set().union(*children[first : first + 7]) == {(pid, kinds) for pid in pids[1:] for kinds in (1, 2, 4)}


@pytest.mark.parametrize(
    ("count", "runs_ns", "turns"), [(12, 0, 1), (24, 0, 2), (60, 0, 5), (240, 0, 8), (120, 200_000, 1)]
)
def test_memory_of_those_that_rest_is_read_in_turn(machine: Machine, count: int, runs_ns: int, turns: int) -> None:
    """Where many do; of those that run for a moment, which may have taken some, in each collection."""
    pids = range(100, 100 + count)

    def resident(pages: int) -> None:
        for pid in pids:
            machine.proc.process(pid, 100 if pid > 100 else 1, resident=pages)

    def read() -> float:
        """How many have given their new memory."""
        return machine.collect(collector)['proctree_resident_memory_bytes{tree="job"}'] / 40960 - count

    resident(10)
    collector = machine.make(ProcessCollector, PID)
    collector._reader._clocks = True
    with patch(
        "prom_probe.collectors.process.reader.clock_gettime_ns", lambda clock: 10**9 + round(machine.now) * runs_ns
    ):
        machine.collect(collector, 5)
        resident(20)
        seen = [read() for _ in range(turns)]
    assert seen == [pytest.approx(count * turn / turns) for turn in range(1, turns + 1)]


def test_those_that_run_for_moments_are_read_seldom(machine: Machine) -> None:
    """Their memory in every 8th beat, or once they may have taken much since it was read, the rest in every 16th."""
    pids = range(100, 196)
    reads: Counter[str] = Counter()

    def counted(name: str) -> Any:
        read = getattr(ProcessFiles, name)

        def wrapped(files: ProcessFiles) -> Any:
            reads[name] += 1
            return read(files)

        return patch.object(ProcessFiles, name, wrapped)

    def clock_ns(clock: int) -> int:
        return 10**9 + round(machine.now) * 20_000

    def change(number: int) -> None:
        for pid in pids:
            machine.proc.process(pid, 100 if pid > 100 else 1, resident=number, read=4096 * number, utime=number)

    collector = machine.make(ProcessCollector, PID)
    collector._reader._clocks = True
    with (
        patch("prom_probe.collectors.process.reader.clock_gettime_ns", clock_ns),
        counted("statm"),
        counted("stat"),
        counted("io"),
    ):
        change(1)
        machine.collect(collector, 48)
        reads.clear()
        machine.collect(collector, 48)
        assert 2.5 * len(pids) < reads["stat"] == reads["io"] <= 3 * len(pids)
        assert 5 * len(pids) < reads["statm"] <= 9 * len(pids)
        change(2)
        # One of these lists /proc, and puts off what is read in turn.
        assert machine.collect(collector, 9)['proctree_resident_memory_bytes{tree="job"}'] == 96 * 2 * 4096
        row = machine.collect(collector, 10)
        assert row['proctree_io_read_bytes_total{tree="job"}'] == 96 * 2 * 4096
        assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 96 * 2 / 100


@pytest.mark.parametrize(("grows", "every"), [(True, 8), (False, 16)])
def test_status_is_read_half_as_often_where_memory_stays_the_same(machine: Machine, grows: bool, every: int) -> None:
    """Of a process that runs all the time."""
    machine.proc.process(100)
    collector = machine.make(ProcessCollector, PID)
    collector._reader._clocks = True
    with (
        patch.object(ProcessFiles, "status", autospec=True, side_effect=ProcessFiles.status) as read,
        patch("prom_probe.collectors.process.reader.clock_gettime_ns", lambda clock: round(machine.now * 1e9)),
    ):
        for beat in range(80):
            machine.proc.process(100, resident=10 + beat * grows, utime=beat, peak=100 + beat)
            peak = machine.collect(collector)['proctree_largest_process_memory_peak_bytes{tree="job"}']
            # The first reading is out of step, and a collection that lists /proc puts it off.
            assert beat < 24 or 100 + beat - every - 1 < peak / 1024 <= 100 + beat
    assert 80 // every - 2 <= read.call_count <= 80 // every + 2


def test_status_and_limits_of_many_that_run_are_read_as_often_as_of_few(machine: Machine) -> None:
    """As many in a collection as it takes, so that none waits for longer."""
    pids = range(100, 220)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID)
    collector._reader._clocks = True
    reads: dict[str, Counter[Any]] = {name: Counter() for name in ("status", "limits")}

    def counted(name: str) -> Any:
        real = getattr(ProcessFiles, name)

        def read(files: ProcessFiles) -> bytes:
            reads[name][files] += 1
            return bytes(real(files))

        return patch.object(ProcessFiles, name, read)

    module = "prom_probe.collectors.process.reader"
    with (
        counted("status"),
        counted("limits"),
        patch(f"{module}.clock_gettime_ns", lambda clock: round(machine.now * 1e9)),
        patch(f"{module}._STATUS_EVERY", 4),
        patch(f"{module}._STATUS_MOST", 4),
    ):
        machine.collect(collector, 8)
        for read in reads.values():
            read.clear()
        machine.collect(collector, 96)  # 12 turns of each; memory is the same, so status is read in every second one
    for read in reads.values():
        assert len(read) == len(pids)
        assert min(read.values()) >= 4


def test_a_clock_that_is_another_process_s_is_noticed_at_once(machine: Machine) -> None:
    """It says less than before; also where nobody's turn has come."""
    clocks = dict.fromkeys(range(100, 220), 10**9)
    for pid in clocks:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID)
    collector._reader._clocks = True

    def clock_ns(clock: int) -> int:
        return clocks[~(clock >> 3)] + round(machine.now) * 10_000

    with patch("prom_probe.collectors.process.reader.clock_gettime_ns", clock_ns):
        machine.collect(collector, 5)
        for pid in range(200, 208):
            machine.proc.process(pid, 1, start=50_000)
            clocks[pid] = 10**8
        assert machine.collect(collector)['proctree_processes{tree="job"}'] == 112


def _reads(machine: Machine, collector: Any, clock_ns: Any, beats: int) -> list[Counter[str]]:
    """How many files of each name each collection has read, by clocks of made-up processes."""
    collector._reader._clocks = True
    reads: list[Counter[str]] = []

    def counted(name: str) -> Any:
        real = getattr(ProcessFiles, name)

        def read(files: ProcessFiles) -> Any:
            reads[-1][name] += 1
            return real(files)

        return patch.object(ProcessFiles, name, read)

    with (
        patch("prom_probe.collectors.process.reader.clock_gettime_ns", clock_ns),
        counted("stat"),
        counted("statm"),
        counted("io"),
        counted("status"),
        counted("limits"),
    ):
        for _ in range(beats):
            reads.append(Counter())
            machine.collect(collector)
    return reads


def test_many_that_rest_are_read_again_a_few_in_a_collection(machine: Machine) -> None:
    """All of them within 17 to 32 collections, a little more where others come first; never many at once."""
    pids = range(100, 196)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1, utime=1)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 40)
    still = {(~pid << 3) | 2: 10**9 for pid in pids}
    _reads(machine, collector, still.__getitem__, 40)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1, utime=2)
    reads = _reads(machine, collector, still.__getitem__, 36)
    assert 0 < max(read["stat"] for read in reads) <= 1 + len(pids) // 12
    assert machine.collect(collector)['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 2 * len(pids) / 100


def test_many_that_wake_at_once_are_read_in_turn_from_the_first_collection_on(machine: Machine) -> None:
    """How many have run is known before anything is read of them."""
    pids = range(100, 148)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID)
    slept_ns = [0]
    _reads(machine, collector, lambda clock: 10**9 + slept_ns[0], 40)
    for ran_ns, most in ((50_000, 48 // 16 + 1 + 48 // 12), (10**9, 48)):
        slept_ns[0] += ran_ns
        (reads,) = _reads(machine, collector, lambda clock: 10**9 + slept_ns[0], 1)
        assert 0 < reads["stat"] <= most
        assert reads["io"] <= 48 // 4
        assert reads["status"] <= 1 + 1 + 48 // 12


def test_no_collection_reads_much_of_many_that_run_little(machine: Machine) -> None:
    """One status or one file of limits at most, a thirteenth of the stats, and each is read all the same."""
    pids = range(100, 140)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID)
    clock_ns = lambda clock: 10**9 + round(machine.now) * 20_000  # noqa: E731
    _reads(machine, collector, clock_ns, 100)
    reads = _reads(machine, collector, clock_ns, 400)
    assert max(read["stat"] for read in reads) <= 4
    assert max(read["status"] + read["limits"] for read in reads) <= 1
    total = sum(reads, Counter())
    assert total["stat"] >= 400 // 14 * len(pids)
    assert total["io"] >= 400 // 16 * len(pids)
    assert total["status"] >= 3 * len(pids)
    assert total["limits"] >= len(pids)


def test_a_clock_that_cannot_be_read_costs_no_other(machine: Machine) -> None:
    """The others' are read on, each is its own."""
    pids = range(100, 110)
    for pid in pids:
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)

    def clock_ns(clock: int) -> int:
        pid = ~(clock >> 3)
        if pid % 3 == 0:
            raise OSError
        return pid

    collector._reader._clocks = True
    with patch("prom_probe.collectors.process.reader.clock_gettime_ns", clock_ns):
        assert collector._reader._read_clocks() == [-1 if pid % 3 == 0 else pid for pid in pids]


def test_who_is_reaped_after_its_clock_was_read_counts_once(machine: Machine) -> None:
    """Its parent's reading has its time already, in the same collection. Of many, most of which are not looked at."""
    children = set(range(101, 141))
    for pid in (100, *children):
        machine.proc.process(pid, 100 if pid > 100 else 1, utime=500, minflt=300)
    collector = machine.make(ProcessCollector, PID)
    collector._reader._clocks = True
    reaped: list[int] = []

    def clock_ns(clock: int) -> int:
        pid = ~(clock >> 3)
        if pid in reaped:
            raise OSError
        return 10**9 + round(machine.now * 1e9) * (pid == 100)

    def stat(files: ProcessFiles) -> bytes:
        if files is collector._processes[100].files:
            child = children.pop()
            reaped.append(child)
            machine.proc.end(child)
            count = len(reaped)
            machine.proc.process(100, utime=500, minflt=300, cutime=500 * count, cminflt=300 * count)
        return real(files)

    real = ProcessFiles.stat
    with patch("prom_probe.collectors.process.reader.clock_gettime_ns", clock_ns):
        machine.collect(collector, 5)
        with patch.object(ProcessFiles, "stat", stat):
            for beat in range(1, 9):
                row = machine.collect(collector)
                assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 41 * 5
                assert row['proctree_processes{tree="job"}'] == 41 - beat


@pytest.mark.parametrize("late", [False, True])
def test_io_of_a_parent_is_read_with_its_stat_alone(machine: Machine, late: bool) -> None:
    """It may have a reaped child's in it. Also of one that has joined after its children."""
    for pid in range(101, 141):
        machine.proc.process(pid, 100, b"python", start=2000)
    if not late:
        machine.proc.process(100, 1, b"python", start=1000)
    collector = machine.make(ProcessCollector, Watch("job", "comm", "python"))
    machine.collect(collector, 3)
    machine.proc.process(100, 1, b"python", start=1000)
    collector._reader._clocks = True
    reads: dict[str, set[int]] = {"stat": set(), "io": set()}
    alone: set[int] = set()

    def counted(name: str) -> Any:
        real = getattr(ProcessFiles, name)

        def read(files: ProcessFiles) -> bytes:
            reads[name].add(next(pid for pid, process in collector._processes.items() if process.files is files))
            return bytes(real(files))

        return patch.object(ProcessFiles, name, read)

    def clock_ns(clock: int) -> int:
        return 10**9 + round(machine.now) * 20_000

    with patch("prom_probe.collectors.process.reader.clock_gettime_ns", clock_ns), counted("stat"), counted("io"):
        machine.collect(collector, 64)
        for _ in range(64):
            for pids in reads.values():
                pids.clear()
            machine.collect(collector)
            alone |= reads["io"] - reads["stat"]
    assert len(collector._processes) == 41
    assert len(alone) > 30
    assert 100 not in alone


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "renew", "arrange"]), st.integers(0, 50))))
def test_columns_stay_with_their_process(steps: list[tuple[str, int]]) -> None:
    """Whoever comes and goes, and in whatever order they are read."""
    reader = ProcessReader(clocks=False, main_thread_waits=True, say=print)
    known: dict[Process, int] = {}
    for number, (step, at) in enumerate(steps):
        if step == "join":
            process = Process(number, at, 0.0, "t", Tree(), ProcessFiles("/none", number, Descriptors(), fd_size=False))
            reader.join(process)
            reader._cpu_ns[-1] = known[process] = number
        elif known:
            process = list(known)[at % len(known)]
            if step == "leave":
                reader.leave(process)
                del known[process]
            elif step == "renew":
                reader.renew(process)
                known[process] = -1
            else:
                known = dict(sorted(known.items(), key=lambda item: (item[0].start, item[0].pid)))
                reader.arrange(known)
    assert reader._processes == list(known)
    assert list(reader._cpu_ns) == list(known.values())
    assert list(reader._pids) == [process.pid for process in known]
    assert list(reader._clock_ids) == [(~process.pid << 3) | 2 for process in known]
    assert {len(column) for column in (reader._flags, reader._memory_ns, reader._due)} == {len(known)}
