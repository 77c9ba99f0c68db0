"""What a tree's cgroup has used beyond the tree's counter, on made-up machines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine

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


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroup_that_is_made_anew_is_compared_in_the_next_second(machine: Machine, version: int) -> None:
    """Its usage begins at 0 again, and what was known before stays."""
    mount = "cpu,cpuacct/" if version == 1 else ""

    def used(cpu_s: float) -> None:
        directory = machine.cgroupfs / mount / "job"
        if version == 1:
            (directory / "cpuacct.usage").write_text(f"{cpu_s * 1e9:.0f}\n")
        else:
            (directory / "cgroup.events").write_text("populated 1\n")
            (directory / "cpu.stat").write_text(f"usage_usec {cpu_s * 1e6:.0f}\nuser_usec 0\n")

    machine.cgroup(f"{mount}job", 100)
    machine.proc.process(100, utime=500)
    used(9.0)
    collector = machine.make(ProcessCollector, JOB)
    machine.collect(collector)
    used(10.02)
    assert unattributed(machine.collect(collector)) == pytest.approx(1.0)
    machine.proc.end(100)
    shutil.rmtree(machine.cgroupfs / mount / "job")
    machine.collect(collector, 3)
    machine.cgroup(f"{mount}job", 200)
    machine.proc.process(200, utime=0, start=9_000)
    used(0.0)
    machine.collect(collector)
    used(2.02)
    assert unattributed(machine.collect(collector)) == pytest.approx(3.0)
