"""Watches that match nothing: one warning, whatever comes later."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine

WEB = Watch("web", "comm", "gunicorn.*")
JOB = Watch("job", "pid", "100")
WARNING = ("warn", "no process matches the watch web=comm:gunicorn.* so far")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With a process that JOB matches."""
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    machine.proc.process(100, 1, b"job")
    return machine


def test_it_is_said_once_after_the_third_collection(machine: Machine) -> None:
    """The watch is named as it was written; nothing is said of the one that matches."""
    collector = machine.make(ProcessCollector, WEB, JOB)
    machine.collect(collector, 2)
    assert machine.log == []
    machine.collect(collector)
    assert machine.log == [WARNING]
    machine.collect(collector, 20)
    assert machine.log == [WARNING]


def test_a_watch_that_matches_later_is_a_tree_like_any_other(machine: Machine) -> None:
    """Its processes are counted; when they have ended, nothing is said."""
    collector = machine.make(ProcessCollector, WEB)
    machine.collect(collector, 5)
    machine.proc.process(200, 1, b"gunicorn: master")
    assert machine.collect(collector, 3)['proctree_processes{tree="web"}'] == 1
    machine.proc.end(200)
    assert machine.collect(collector, 5)['proctree_processes{tree="web"}'] == 0
    assert machine.log == [WARNING]


def test_a_process_that_has_already_ended_has_matched(machine: Machine) -> None:
    """A COMMAND that lived for one collection."""
    collector = machine.make(ProcessCollector, JOB)
    machine.collect(collector)
    machine.proc.end(100)
    machine.collect(collector, 5)
    assert machine.log == []


def test_the_next_worker_does_not_repeat_it(machine: Machine) -> None:
    """It says only what is new."""
    collector = machine.make(ProcessCollector, WEB)
    machine.collect(collector, 3)
    successor = machine.make(ProcessCollector, WEB, Watch("api", "comm", "uvicorn"))
    successor.restore(collector.checkpoint())
    machine.collect(successor, 5)
    assert machine.log == [WARNING, ("warn", "no process matches the watch api=comm:uvicorn so far")]
