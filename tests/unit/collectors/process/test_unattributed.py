"""What a tree's cgroup has used beyond the tree's counter, on made-up machines and against a real cgroup."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import read_once
from tests.support.collector_harness import Machine, values
from tests.support.processes import burn, child, collect_until, ended, running

JOB = Watch("job", "cgroup", "/job")


class Group:
    """A cgroup v2 of a made-up machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.cgroup("job", 100)
        (machine.cgroupfs / "job" / "cgroup.events").write_text("populated 1\n")

    def used(self, cpu_s: float) -> None:
        (self.machine.cgroupfs / "job" / "cpu.stat").write_text(f"usage_usec {cpu_s * 1e6:.0f}\nuser_usec 0\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def unattributed(row: dict[str, float], tree: str = "job") -> float | None:
    return row.get(f'proctree_cpu_unattributed_seconds_total{{tree="{tree}"}}')


def test_it_is_what_the_cgroup_has_more_than_the_tree(machine: Machine) -> None:
    """From the first look on, less two ticks of rounding for the one process."""
    group = Group(machine)
    machine.proc.process(100, utime=500)
    group.used(9.0)
    collector = machine.make(ProcessCollector, JOB)
    assert unattributed(machine.collect(collector)) == 0
    machine.proc.process(100, utime=600)
    group.used(10.0)
    assert unattributed(machine.collect(collector)) == 0
    group.used(12.5)
    assert unattributed(machine.collect(collector)) == pytest.approx(2.48)
    machine.proc.process(100, utime=700)  # what was late is not taken back
    group.used(12.5)
    assert unattributed(machine.collect(collector)) == pytest.approx(2.48)


def test_time_that_a_process_brings_along_hides_nothing_later(machine: Machine) -> None:
    """It is the tree's from the moment it is in the cgroup; the cgroup never had it."""
    group = Group(machine)
    machine.proc.process(100)
    group.used(1.0)
    collector = machine.make(ProcessCollector, JOB)
    machine.collect(collector)
    machine.proc.process(101, 100, utime=100_000)
    machine.cgroup("job", 100, 101)
    machine.collect(collector)
    group.used(4.0)
    assert unattributed(machine.collect(collector)) == pytest.approx(2.96)


def test_what_is_used_while_the_tree_is_read_is_not_missing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """We may wait for a CPU between the readings; the next collection has the tree's part."""
    group = Group(machine)
    machine.proc.process(100, utime=500)
    group.used(9.0)
    collector = machine.make(ProcessCollector, JOB)
    machine.collect(collector)
    read = collector._read_all

    def read_slowly() -> None:
        read()
        group.used(10.0)

    monkeypatch.setattr(collector, "_read_all", read_slowly)
    assert unattributed(machine.collect(collector)) == 0
    machine.proc.process(100, utime=600)
    assert unattributed(machine.collect(collector, 3)) == 0


def test_a_child_that_ends_while_the_tree_is_read_is_not_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent was read before it had reaped it: the next collection has its time."""
    group = Group(machine)
    machine.proc.process(100)
    machine.proc.process(101, 100)
    machine.cgroup("job", 100, 101)
    group.used(1.0)
    collector = machine.make(ProcessCollector, JOB)
    machine.collect(collector)
    group.used(2.0)
    machine.proc.end(101)
    assert unattributed(machine.collect(collector)) == 0
    machine.proc.process(100, cutime=100)
    machine.cgroup("job", 100)
    assert unattributed(machine.collect(collector, 3)) == 0
    group.used(3.0)
    assert unattributed(machine.collect(collector, 3)) == pytest.approx(0.98)


def test_a_cgroup_with_others_is_not_compared(machine: Machine) -> None:
    """No series, and a process that has just been forked is no stranger."""
    Group(machine).used(1.0)
    machine.proc.process(100)
    machine.cgroup("job", 100, 999)  # of another PID namespace, say, or our own
    collector = machine.make(ProcessCollector, JOB)
    assert unattributed(machine.collect(collector, 40)) is None
    machine.cgroup("job", 100)
    assert unattributed(machine.collect(collector, 256)) == 0
    machine.cgroup("job", 100, 999)
    assert unattributed(machine.collect(collector, 20)) is None


def test_it_stays_when_the_tree_is_gone_and_goes_on_in_a_successor(machine: Machine) -> None:
    """A final counter like the others."""
    group = Group(machine)
    machine.proc.process(100)
    group.used(1.0)
    collector = machine.make(ProcessCollector, JOB)
    machine.collect(collector)
    group.used(2.02)
    assert unattributed(machine.collect(collector)) == pytest.approx(1)
    successor = machine.make(ProcessCollector, JOB)
    successor.restore(collector.checkpoint())
    assert unattributed(machine.collect(successor)) == pytest.approx(1)
    group.used(3.04)
    assert unattributed(machine.collect(successor)) == pytest.approx(2)
    machine.proc.end(100)
    machine.cgroup("job")
    assert unattributed(machine.collect(successor)) == pytest.approx(2)


@contextmanager
def cgroup() -> Iterator[tuple[str, Callable[[], float], Callable[[], None]]]:
    """A new cgroup with a CPU account: its path, its CPU seconds, and what moves the caller into it."""
    name = f"prom_probe_test_{os.getpid()}"
    places = [f"/sys/fs/cgroup/cpuacct/{name}", f"/sys/fs/cgroup/cpu,cpuacct/{name}", f"/sys/fs/cgroup/{name}"]
    for directory in places:
        if not os.path.exists(f"{os.path.dirname(directory)}/cgroup.procs"):
            continue
        try:
            os.mkdir(directory)
        except OSError:
            continue
        break
    else:
        pytest.skip("no cgroup can be made: needs root and a hierarchy that is not read-only")

    def used() -> float:
        try:
            return int(read_once(f"{directory}/cpuacct.usage")) / 1e9
        except FileNotFoundError:
            return int(read_once(f"{directory}/cpu.stat").split()[1]) / 1e6

    def enter() -> None:
        with open(f"{directory}/cgroup.procs", "w") as stream:
            stream.write(str(os.getpid()))

    try:
        yield directory.removeprefix("/sys/fs/cgroup"), used, enter
    finally:
        deadline = time.monotonic() + 5
        while os.path.exists(directory) and time.monotonic() < deadline:
            try:
                os.rmdir(directory)
            except OSError:
                time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="needs cgroups")
@pytest.mark.parametrize(("burn_ms", "gap_ms", "rounds"), [(50, 50, 12), (300, 100, 4), (3, 10, 100)])
@pytest.mark.parametrize("ignored", [False, True], ids=["reaped", "sigchld-ignored"])
def test_the_tree_and_what_is_unattributed_are_what_the_cgroup_used(
    burn_ms: int, gap_ms: int, rounds: int, ignored: bool
) -> None:
    """Short-lived children, seen once or never: reaped, all is the tree's; where nobody waits, both together."""
    with cgroup() as (path, used, enter):
        go, start = os.pipe()

        def work() -> None:
            enter()
            if ignored:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.read(go, 1)
            for _ in range(rounds):
                pid = child(lambda: burn(burn_ms / 1e3))
                try:
                    os.waitpid(pid, 0)
                except ChildProcessError:
                    pass  # waited until it was gone, as SIG_IGN has it
                time.sleep(gap_ms / 1e3)

        with running(work) as pid:
            collector = ProcessCollector(Context(watches=(Watch("t", "cgroup", path),)))
            collect_until(collector, lambda: unattributed(values(collector), "t") is not None)
            before = used()
            first = _cpu(collector)
            os.write(start, b"!")
            deadline = time.monotonic() + 60
            while not ended(pid):
                assert time.monotonic() < deadline
                collector.collect()
                time.sleep(0.2)
            for _ in range(2):  # the account lags by a collection while processes end
                collector.collect()
            truth = used() - before
            counted = _cpu(collector) - first
            rest = unattributed(values(collector), "t")
            assert rest is not None
            if ignored:
                assert counted <= truth + 0.03
                assert counted + rest == pytest.approx(truth, rel=0.02, abs=0.06)
            else:
                assert counted == pytest.approx(truth, rel=0.02, abs=0.03)
                assert rest <= 0.02 * truth + 0.03, f"{counted} of {truth}"
            collector.close()
        os.close(go)
        os.close(start)


def _cpu(collector: ProcessCollector) -> float:
    row = values(collector)
    return sum(row[f'proctree_cpu_seconds_total{{mode="{mode}", tree="t"}}'] for mode in ("user", "system"))
