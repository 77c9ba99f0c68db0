"""Real processes for collectors to look at: made by fork, ended with the test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from prom_probe.collectors.base import Collector
from tests.support.waiting import DEADLINE_S


@contextmanager
def running(work: Callable[[], object]) -> Iterator[int]:
    """A process in a group of its own that does `work` and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            work()
        finally:
            os._exit(0)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # it was quicker
    try:
        yield pid
    finally:
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass


def burn(cpu_s: float) -> None:
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass


def child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid


def sleep() -> NoReturn:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    while True:
        signal.pause()


def collect_until(collector: Collector, done: Callable[[], bool]) -> None:
    """Collect every few milliseconds until `done`."""
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline
        collector.collect()
        time.sleep(0.005)


def ended(pid: int) -> bool:
    """Whether the process is a zombie."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
