"""The supervisor's rules for workers that have nothing to do, that crash, and that do not end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from prom_probe.log import Log
from prom_probe.run import supervisor as module
from prom_probe.run.board import Board
from prom_probe.run.supervisor import Supervisor, Worker

KILLED = signal.SIGKILL  # a wait status too


class Kernel:
    """Processes that do not exist: `ended` are those that can be reaped, with their statuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.ended: dict[int, int] = {}
        self.signals: list[tuple[int, int]] = []
        self.forked = 0
        monkeypatch.setattr(os, "fork", self._fork)
        monkeypatch.setattr(
            os, "waitpid", lambda pid, flags: (pid, self.ended.pop(pid)) if pid in self.ended else (0, 0)
        )
        monkeypatch.setattr(os, "kill", lambda pid, number: self.signals.append((pid, number)))
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _fork(self) -> int:
        self.forked += 1
        return 100_000 + self.forked


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def make(worker: Worker, kernel: Kernel, reload: Callable[[], tuple[str, ...]] = tuple) -> tuple[Supervisor, Board]:
    """With an aggregator that ends when it is told to."""
    board = Board([worker.name])
    supervisor = Supervisor([worker], board, log=Log("error"), collect_now=lambda s: None, listeners=[], reload=reload)

    def wait(until_s: float) -> bytes:
        kernel.now = max(kernel.now, until_s)
        return b""

    supervisor._wait = wait  # type: ignore[method-assign]
    return supervisor, board


def gpu(wanted: Callable[[], bool] = lambda: True) -> Worker:
    return Worker("gpu", lambda lifeline: None, wanted=wanted, grace_s=10.0, most_crashes=3)


def test_what_has_nothing_to_do_is_not_started_and_asked_again(kernel: Kernel) -> None:
    """Once a minute."""
    there = False
    worker = gpu(lambda: there)
    supervisor, board = make(worker, kernel)
    supervisor._start(worker)
    assert (worker.pid, kernel.forked) == (0, 0)
    assert worker.due_s == kernel.now + 60
    assert next(board.rows()).started_ns == 0, "nobody takes it for a worker that has died"
    there = True
    supervisor._start(worker)
    assert worker.pid


@pytest.mark.parametrize(("lived_s", "given_up"), [(1.0, True), (59.0, True), (61.0, False)])
def test_three_crashes_within_a_minute_of_the_start(
    kernel: Kernel, capfd: pytest.CaptureFixture[str], lived_s: float, given_up: bool
) -> None:
    """Are enough, until a reload; one line of error says so. Longer lives begin the count anew."""
    worker = gpu()
    supervisor, board = make(worker, kernel)
    for crash in range(3):
        supervisor._start(worker)
        kernel.now += lived_s
        kernel.ended[worker.pid] = KILLED
        supervisor._reap()
        assert worker.pid == 0
        assert bool(worker.due_s) == (not given_up or crash < 2)
    assert worker.given_up == given_up
    assert next(board.rows()).restarts == (2 if given_up else 3)
    assert capfd.readouterr().err.count("given up until a reload (SIGHUP)") == given_up
    supervisor._reload_now()
    assert bool(worker.due_s)
    assert not worker.given_up


def test_a_worker_that_is_stuck_in_the_kernel_is_left_there(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    """SIGTERM, its grace, SIGKILL, a little more: then the supervisor ends without it, and says so."""
    worker = gpu()
    supervisor, _ = make(worker, kernel)
    supervisor._start(worker)
    pid, start = worker.pid, kernel.now
    supervisor._stop_workers()
    assert kernel.signals == [(pid, signal.SIGTERM), (pid, signal.SIGKILL)]
    assert worker.grace_s <= kernel.now - start < worker.grace_s + module.KILLED_S + 1
    assert "stuck in the kernel" in capfd.readouterr().err


def test_a_stuck_worker_gets_no_second_beside_it(kernel: Kernel) -> None:
    """A reload asks it to end, and the next one starts when it has."""
    worker = gpu()
    supervisor, _ = make(worker, kernel, lambda: ("gpu",))
    supervisor._start(worker)
    for _ in range(5):
        supervisor._reload_now()
        supervisor._reap()
        kernel.now += 100
    assert kernel.forked == 1
    kernel.ended[worker.pid] = 0
    supervisor._reap()
    assert worker.due_s == kernel.now
