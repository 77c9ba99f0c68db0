"""COMMAND: its process group, its signals, its terminal, its end."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

# Not forwarded: the end of our children, what cannot be caught, and our own faults.
_KEPT = {"SIGCHLD", "SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGPIPE"}
_KEPT |= {"SIGTTIN", "SIGTTOU", "SIGABRT", "SIGXFSZ"}
FORWARDED = sorted(s for s in signal.valid_signals() if getattr(s, "name", "") not in _KEPT)


class CommandExit(NamedTuple):
    """How COMMAND ended: the exit status that a shell would show, and what it and the children that it reaped used.

    `peak_bytes` is the largest resident memory of any one of them; 0 if it is unknown.
    """

    status: int
    text: str
    cpu_seconds: float
    peak_bytes: int


class CommandError(Exception):
    """COMMAND cannot be started; `status` is a shell's exit status for that (127 not found, 126 not executable)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Command:
    """One run of COMMAND. Its process is forked at once and waits; `go` lets it become COMMAND.

    It has its own process group, so a signal to our group or from our terminal reaches it once: through us. If input
    and output are the terminal, it is in the foreground from the start, otherwise from when it first stops for the
    terminal.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.name = os.path.basename(argv[0])
        self._terminal = _foreground_terminal()
        gate_read, self._gate = os.pipe()
        self._failure, failure_write = os.pipe()
        self._exit: CommandExit | None = None
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
            pass  # the child has done it already
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
        """Let it run. Raises CommandError if it cannot be executed."""
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
        """Forward one signal."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it has just ended

    def poll(self) -> bool:
        """Whether it has ended. Until `reap` it stays a zombie, whose last numbers can be read."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13: nothing is left for `reap`
            self._exit = self._exit or self._wait(os.WNOHANG)
            return self._exit is not None
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stopped(self) -> int:
        """The signal that has stopped it since the last call; 0 for none."""
        if not hasattr(os, "waitid"):
            return 0
        info = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        return info.si_status if info is not None else 0

    def handle_stop(self, number: int) -> None:
        """After it has stopped: give it the terminal if it stopped for that, else stop too, as the shell expects."""
        if number in (signal.SIGTTIN, signal.SIGTTOU) and self._terminal and _is_foreground(os.getpgrp()):
            self._give_terminal(self.pid)
            os.killpg(self.pid, signal.SIGCONT)
            return
        if number == signal.SIGSTOP or not self._terminal:
            return  # it was stopped on purpose, and will be continued in the same way
        self.take_terminal()
        os.kill(os.getpid(), signal.SIGSTOP)

    def continued(self) -> None:
        """After we were continued: give the terminal back to it, if it had it and we have it now."""
        if self._terminal and os.isatty(1) and _is_foreground(os.getpgrp()):
            self._give_terminal(self.pid)

    def reap(self) -> CommandExit:
        """Its exit; `poll` has said that it has ended."""
        ended = self._exit or self._wait(0)
        assert ended is not None
        return ended

    def _wait(self, flags: int) -> CommandExit | None:
        pid, status, usage = os.wait4(self.pid, flags)
        if not pid:
            return None
        self.take_terminal()
        used = usage.ru_utime + usage.ru_stime, _peak_bytes(usage.ru_maxrss)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
            return CommandExit(128 + number, f"killed by {name}", *used)
        code = os.WEXITSTATUS(status)
        return CommandExit(code, f"exit status {code}", *used)

    def take_terminal(self) -> None:
        """Make our group the foreground again, if it was."""
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
    """`ru_maxrss` in bytes. It includes our own image before the exec, so below our own peak it says nothing."""
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
