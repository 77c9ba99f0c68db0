"""The system calls of the supervisor: an interface, so that tests can hand in their own, and the real ones."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

from prom_probe.log import Log, describe_error
from prom_probe.ring.doorbell import Doorbell
from prom_probe.run.command import FORWARDED


class Kernel(Protocol):
    """What the supervisor needs of the operating system. Times are seconds of the monotonic clock."""

    def now_s(self) -> float: ...

    def own_pid(self) -> int: ...

    def catch(self, numbers: Iterable[int]) -> None:
        """From now on `wait` reports these signals; they do nothing else."""

    def wait(self, until_s: float, bell: Doorbell | None = None) -> tuple[bytes, bool]:
        """Sleep until `until_s`, or until a caught signal or the bell comes.

        Returns the numbers of the signals, a byte each, and whether the bell was rung; it is quiet afterwards.
        """

    def start(self, name: str, main: Callable[[int], None]) -> int:
        """Start a process that calls `main` with its lifeline. Returns its PID.

        The lifeline is a descriptor that becomes readable when this process is gone.
        """

    def send(self, pid: int, number: int) -> None:
        """Send a signal to a child that has not been reaped."""

    def reap(self, pid: int) -> int | None:
        """The wait status of a child that has ended, which then is gone; None while it runs."""

    def ended_child(self) -> int:
        """The PID of any child that has ended and was not reaped; 0 for none."""


class SystemKernel:
    """The real operating system. One instance a process: signals have one wake-up descriptor."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._signals_fd, self._signals_write = os.pipe()
        self._lifeline, self._lifeline_write = os.pipe()
        os.set_blocking(self._signals_fd, False)
        os.set_blocking(self._signals_write, False)

    def now_s(self) -> float:
        return time.monotonic()

    def own_pid(self) -> int:
        return os.getpid()

    def catch(self, numbers: Iterable[int]) -> None:
        signal.set_wakeup_fd(self._signals_write, warn_on_full_buffer=False)
        for number in numbers:
            _set_handler(number, _noted)

    def wait(self, until_s: float, bell: Doorbell | None = None) -> tuple[bytes, bool]:
        left = max(0.0, until_s - time.monotonic())
        fds = [self._signals_fd] if bell is None else [self._signals_fd, bell.fd]
        ready, _, _ = select.select(fds, [], [], None if left == float("inf") else left)
        rung = bell is not None and bell.fd in ready
        if bell is not None and rung:
            bell.clear()
        try:
            return os.read(self._signals_fd, 4096), rung
        except BlockingIOError:
            return b"", rung

    def start(self, name: str, main: Callable[[int], None]) -> int:
        # Until the child has its own handlers, ours would swallow a SIGTERM that is meant to end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        pid = os.fork()
        if pid == 0:
            self._become(name, main, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _become(self, name: str, main: Callable[[int], None], mask: set[int | signal.Signals]) -> NoReturn:
        """In the child: run the worker.

        A session of its own keeps it from signals that are meant for COMMAND or for us, and gives it its own share of
        the CPU where the kernel divides it between sessions first (autogroup).
        """
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            _name_process(f"pp-{name}")
            for number in [*FORWARDED, signal.SIGCHLD]:
                _set_handler(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # a worker that handles SIGHUP says so later
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for fd in (self._signals_fd, self._signals_write, self._lifeline_write):
                os.close(fd)
            main(self._lifeline)
            status = 0
        except BaseException as error:
            self._log.named(name)("error", f"worker failed: {describe_error(error)}")
        finally:
            os._exit(status)

    def send(self, pid: int, number: int) -> None:
        os.kill(pid, number)

    def reap(self, pid: int) -> int | None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        return status if ended else None

    def ended_child(self) -> int:
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0
        return 0 if info is None else info.si_pid


def _set_handler(number: int, handler: Callable[[int, object], None] | signal.Handlers) -> None:
    try:
        signal.signal(number, handler)
    except (OSError, ValueError):
        pass  # the C library keeps this signal for itself


def _noted(number: int, frame: object) -> None:
    """Does nothing: the wake-up descriptor has the signal's number already."""


def _name_process(name: str) -> None:
    """Set what `ps -e` and `top` show for this process, if the platform has a file for it."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(name[:15])
    except OSError:
        pass
