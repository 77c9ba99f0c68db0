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
from prom_probe.run.inheritance import SIGNALS
from prom_probe.run.prctl import die_with_parent
from prom_probe.run.signals import SignalSource, open_signals

# How long to wait where waiting is impossible.
_REFUSED_S = 0.05


class Kernel(Protocol):
    """What the supervisor needs of the operating system. Times are seconds of the monotonic clock."""

    def now_s(self) -> float: ...

    def own_pid(self) -> int: ...

    def catch(self, numbers: Iterable[int]) -> None:
        """From now on `wait` reports these signals; they do nothing else. Called once, before `wait`."""

    def wait(self, until_s: float, bell: Doorbell | None = None) -> tuple[bytes, bool]:
        """Sleep until `until_s`, or until a caught signal or the bell comes.

        Returns the numbers of the signals, a byte each, and whether the bell was rung; it is quiet afterwards. The
        end of a child ends the sleep and is no signal: SIGCHLD is one that somebody has sent.
        """

    def start(self, name: str, main: Callable[[int], None]) -> int:
        """Start a process that calls `main` with its lifeline. Returns its PID.

        The lifeline is a descriptor that becomes readable when this process is gone. OSError if there can be no more
        processes.
        """

    def send(self, pid: int, number: int) -> None:
        """Send a signal to a child that has not been reaped."""

    def reap(self, pid: int) -> int | None:
        """The wait status of a child that has ended, which then is gone; None while it runs."""

    def ended_child(self) -> int:
        """The PID of any child that has ended and was not reaped; 0 for none."""


class SystemKernel:
    """The real operating system."""

    def __init__(self, log: Log, blocked: frozenset[int], failed: Callable[[str], None]) -> None:
        """`blocked`: signals that stay blocked unless they are caught; until `catch`, all may be.

        `failed` is told of each wait that fails.
        """
        self._log = log
        self._failed = failed
        self._blocked = blocked
        self._lifeline, self._lifeline_write = os.pipe()
        self._signals: SignalSource | None = None

    def now_s(self) -> float:
        return time.monotonic()

    def own_pid(self) -> int:
        return os.getpid()

    def catch(self, numbers: Iterable[int]) -> None:
        caught = frozenset(numbers)
        self._signals = open_signals(caught)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS - caught - self._blocked)

    def wait(self, until_s: float, bell: Doorbell | None = None) -> tuple[bytes, bool]:
        assert self._signals is not None, "catch comes first"
        left = max(0.0, until_s - time.monotonic())
        fds = [self._signals.fd] if bell is None else [self._signals.fd, bell.fd]
        rung = False
        try:
            ready, _, _ = select.select(fds, [], [], None if left == float("inf") else left)
            rung = bell is not None and bell.fd in ready
            if bell is not None and rung:
                bell.clear()
        except OSError as error:
            self._refused(error)
            time.sleep(min(left, _REFUSED_S))
        try:
            return self._signals.read(), rung
        except OSError as error:
            self._refused(error)
            return b"", rung

    def _refused(self, error: OSError) -> None:
        self._failed("poll")
        self._log("error", "refused, and tried again", call="poll", error=error.strerror)

    def start(self, name: str, main: Callable[[int], None]) -> int:
        # In a child that has not yet reset them, a handler of ours would swallow a SIGTERM that is meant to end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        supervisor = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                self._become(name, main, supervisor)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _become(self, name: str, main: Callable[[int], None], supervisor: int) -> NoReturn:
        """In the child: run the worker.

        A session of its own keeps it from signals that are meant for COMMAND or for us, and gives it its own share of
        the CPU where the kernel divides it between sessions first (autogroup).
        """
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            die_with_parent(signal.SIGTERM)
            name_process(f"pp-{name}")
            for number in SIGNALS:
                _set_handler(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # a worker that handles SIGHUP says so later
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.close(self._lifeline_write)
            if os.getppid() == supervisor:
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
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return 0
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0
        return 0 if info is None else info.si_pid


def _set_handler(number: int, handler: signal.Handlers) -> None:
    try:
        signal.signal(number, handler)
    except (OSError, ValueError):
        pass  # the C library keeps this signal for itself


def name_process(name: str) -> None:
    """Set what `ps -e` and `top` show for this process, if the platform has a file for it."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(name[:15])
    except OSError:
        pass
