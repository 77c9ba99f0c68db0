"""COMMAND: started in a process group of its own, handed every signal once, its terminal passed to and fro."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

# What is not handed on: our children's ends, what cannot be caught, and faults of our own.
_KEPT = {"SIGCHLD", "SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGPIPE"}
_KEPT |= {"SIGTTIN", "SIGTTOU", "SIGABRT", "SIGXFSZ"}
FORWARDED = sorted(s for s in signal.valid_signals() if getattr(s, "name", "") not in _KEPT)


class Ended(NamedTuple):
    """How COMMAND ended: its exit status as a shell has it, and what it used with the children that it waited for.

    `peak_bytes` is the most memory that any one of them had resident; 0 where that cannot be told.
    """

    status: int
    text: str
    cpu_seconds: float
    peak_bytes: int


class CommandError(Exception):
    """COMMAND cannot be started; `status` is what a shell exits with (127 not found, 126 not executable)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Command:
    """One run of COMMAND. The process exists from the start, waiting; `go` lets it become COMMAND.

    It has a process group of its own, so a signal to our group or from our terminal reaches it through us alone: once.
    If input and output are the terminal it gets the foreground at once, else when it first stops for want of it.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.name = os.path.basename(argv[0])
        self._terminal = _foreground_terminal()
        gate_read, self._gate = os.pipe()
        self._failure, failure_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._gate)
            os.close(self._failure)
            self._become(gate_read, failure_write)
        os.close(gate_read)
        os.close(failure_write)
        try:
            os.setpgid(self.pid, self.pid)
        except OSError:
            pass  # it was quicker
        if self._terminal and os.isatty(1):
            self._give_terminal(self.pid)

    def _become(self, gate: int, failure: int) -> None:
        """In the child: wait for `go`, then exec. Never returns."""
        try:
            os.setpgid(0, 0)
            if not os.read(gate, 1):
                os._exit(0)  # the supervisor is gone
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals():
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    try:
                        signal.signal(number, signal.SIG_DFL)
                    except (OSError, ValueError):
                        pass
            os.execvp(self.argv[0], self.argv)
        except OSError as error:
            os.write(failure, str(error.errno).encode())
        finally:
            os._exit(127)

    def go(self) -> None:
        """Let it run; CommandError if it cannot be executed."""
        os.write(self._gate, b"!")
        os.close(self._gate)
        number = int(os.read(self._failure, 16) or 0)
        os.close(self._failure)
        if number:
            os.waitpid(self.pid, 0)
            self.take_terminal()
            status = 127 if number == errno.ENOENT else 126
            raise CommandError(f"cannot run {self.argv[0]}: {os.strerror(number)}", status)

    def signal(self, number: int) -> None:
        """Hand on one signal."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it has just ended

    def poll(self) -> bool:
        """Whether it has ended; it stays a zombie, whose last numbers can be read, until `reap`."""
        if not hasattr(os, "waitid"):
            return False  # macOS before Python 3.13: `reap` finds out
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stopped(self) -> int:
        """The signal that has stopped it since the last call, 0 for none."""
        info = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        return info.si_status if info is not None else 0

    def handle_stop(self, number: int) -> None:
        """After it stopped: give it the terminal that it stopped for, else stop ourselves as the shell expects."""
        if number in (signal.SIGTTIN, signal.SIGTTOU) and self._terminal and _is_foreground(os.getpgrp()):
            self._give_terminal(self.pid)
            os.killpg(self.pid, signal.SIGCONT)
            return
        if number == signal.SIGSTOP or not self._terminal:
            return  # somebody stopped it on purpose; whoever did will continue it
        self.take_terminal()
        os.kill(os.getpid(), signal.SIGSTOP)

    def continued(self) -> None:
        """After we were continued: the terminal goes back to it if it had it and we have it now."""
        if self._terminal and os.isatty(1) and _is_foreground(os.getpgrp()):
            self._give_terminal(self.pid)

    def reap(self, block: bool = True) -> Ended | None:
        """Its end; None while it still runs (`block` False)."""
        pid, status, usage = os.wait4(self.pid, 0 if block else os.WNOHANG)
        if not pid:
            return None
        self.take_terminal()
        used = usage.ru_utime + usage.ru_stime, _peak_bytes(usage.ru_maxrss)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
            return Ended(128 + number, f"killed by {name}", *used)
        code = os.WEXITSTATUS(status)
        return Ended(code, f"exit status {code}", *used)

    def take_terminal(self) -> None:
        """Make our group the foreground again where it was before."""
        if self._terminal and not _is_foreground(os.getpgrp()):
            self._give_terminal(os.getpgrp())

    def _give_terminal(self, group: int) -> None:
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(0, group)
        except OSError:
            pass  # the terminal is gone
        finally:
            signal.signal(signal.SIGTTOU, before)


def _peak_bytes(maxrss: int) -> int:
    """`ru_maxrss` in bytes. It counts our own image before the exec too, so it says nothing below our own peak."""
    if maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        return 0
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def _is_foreground(group: int) -> bool:
    try:
        return os.tcgetpgrp(0) == group
    except OSError:
        return False


def _foreground_terminal() -> bool:
    return os.isatty(0) and _is_foreground(os.getpgrp())
