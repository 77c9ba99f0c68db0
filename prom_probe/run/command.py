"""COMMAND: its start, the signals that are passed on to it, its stops, its end.

It stays in our process group: what is sent to the group, such as a key's signal, reaches it without us. Only what is
sent to our PID alone is passed on (see `canary.py`).
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from prom_probe.log import Log
from prom_probe.run.canary import Canary, read_state
from prom_probe.run.execvp import execvp
from prom_probe.run.inheritance import Inheritance, take_over_environment
from prom_probe.run.prctl import die_with_parent, leave_no_core
from prom_probe.run.terminal import give_terminal
from prom_probe.run.zombie import read_maxrss
from prom_probe.sources.proc_pid_status import parse_proc_pid_status

# As a shell has them.
_NOT_FOUND, _NOT_EXECUTABLE, _OF_A_SIGNAL = 127, 126, 128

# What a terminal stops a process with.
_TERMINAL_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


class CommandExit(NamedTuple):
    """How COMMAND ended: the exit status that a shell would show, and what it and the children that it reaped used.

    `peak_bytes` is the largest resident memory of any one of them, 0 if it is unknown; `killed_by` the signal that
    ended it, 0 if none did; `duration_s` the time from its start to its end.
    """

    status: int
    text: str
    cpu_seconds: float
    peak_bytes: int
    killed_by: int = 0
    duration_s: float = 0.0


class CommandError(Exception):
    """COMMAND cannot be executed; `status` is a shell's exit status for that (127 not found, 126 not executable)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def cannot_run(argv: Sequence[str], number: int) -> CommandError:
    """The error for the error number of an exec."""
    status = _NOT_FOUND if number == errno.ENOENT else _NOT_EXECUTABLE
    return CommandError(f"cannot run {_shown(argv[0])}: {os.strerror(number)}", status)


def display_name(argv: Sequence[str]) -> str:
    """COMMAND's file name as a label: what is not UTF-8 becomes \\xNN."""
    name = os.path.basename(argv[0]) or argv[0]
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def become(argv: Sequence[str], inherited: Inheritance) -> CommandError:
    """Become COMMAND in this process; the error if that is impossible."""
    inherited.restore()
    return cannot_run(argv, execvp(argv))


class Command:
    """One run of COMMAND. Its process is forked at once and waits; `go` lets it become COMMAND.

    Every signal has to be blocked. `note_canary`: see `Canary`.
    """

    def __init__(
        self, argv: Sequence[str], inherited: Inheritance, log: Log, note_canary: Callable[[int], None]
    ) -> None:
        self.argv = tuple(argv)
        self.name = display_name(argv)
        self._inherited = inherited
        self._log = log
        self._group = os.getpgrp()
        self._exit: CommandExit | None = None
        self._began_s = self._ended_s = 0.0  # by the monotonic clock; 0 until then
        gate, self._gate = os.pipe()
        self._failure, failure = os.pipe()
        supervisor = os.getpid()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                os.close(self._gate)
                self._become(supervisor, gate, failure)
        finally:
            os.close(gate)
            os.close(failure)
        self._note_canary = note_canary
        self._canary: Canary | None = None

    def _become(self, supervisor: int, gate: int, failure: int) -> NoReturn:
        """In the child: wait for `go`, then exec."""
        try:
            die_with_parent(signal.SIGKILL)
            if os.getppid() == supervisor and os.read(gate, 1):
                self._inherited.restore()
                take_over_environment(supervisor)
                os.write(failure, str(execvp(self.argv)).encode())
        finally:
            os._exit(_NOT_FOUND)

    def attend(self) -> None:
        """Be ready to pass on signals; called before `signal` and `go`.

        The canary comes after COMMAND: what reaches it as one of the group has reached COMMAND too.
        """
        try:
            self._canary = Canary(self.pid, self._note_canary)
        except OSError as error:
            self._log("warn", "signals to our group may reach COMMAND twice", error=error.strerror)

    def go(self) -> bool:
        """Let it run."""
        self._began_s = time.monotonic()
        try:
            os.write(self._gate, b"!")
        except BrokenPipeError:
            pass  # somebody has killed it already
        os.close(self._gate)
        return True

    def abandon(self) -> None:
        """End it before it was let go, and leave nothing behind."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in (self._gate, self._failure):
            os.close(fd)

    def signal(self, number: int) -> None:
        """Pass on a signal that we got, unless it has been sent to COMMAND too."""
        to_group = self._canary is not None and self._canary.has(number)
        try:
            group = os.getpgid(self.pid)
            if not to_group:
                os.kill(self.pid, number)
            elif group != self._group and not self._continued_in_foreground(number):
                # Without us it would have stayed in the group that the signal was sent to.
                os.kill(-group if group == self.pid else self.pid, number)
        except ProcessLookupError:
            pass  # it has just ended
        except PermissionError:
            name = signal.strsignal(number) or f"signal {number}"
            self._log("warn", "COMMAND runs as another user: a signal is not passed on", signal=name)

    def _continued_in_foreground(self, number: int) -> bool:
        """Whether it has got the terminal and with it the SIGCONT."""
        return number == signal.SIGCONT and give_terminal(os.getpid(), self.pid)

    def own_pids(self) -> set[int]:
        """COMMAND's process and the canary's, which is replaced if it has ended."""
        return {self.pid, self._canary.keep() if self._canary is not None else 0}

    def poll(self) -> bool:
        """Whether it has ended. Until `reap` it stays a zombie, whose last numbers can be read."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13: nothing is left for `reap`
            self._exit = self._exit or self._wait(os.WNOHANG)
            return self._exit is not None
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if ended:
            self._ended_s = self._ended_s or time.monotonic()
        return ended

    def peak_bytes(self) -> int:
        """After its end, before `reap`: the most memory that it or a process that it reaped had; 0 for not known."""
        return _peak_bytes(read_maxrss(self.pid))

    def stopped(self) -> int:
        """The signal that has stopped it since the last call; 0 for none."""
        if not hasattr(os, "waitid"):
            return 0
        info = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        return info.si_status if info is not None else 0

    def handle_stop(self, number: int) -> None:
        """After it has stopped: stop as it has, so that our parent sees what it would see. Returns once we go on.

        If it stopped for want of the terminal, which it would have in our place, it gets that instead.
        """
        if number in (signal.SIGTTIN, signal.SIGTTOU) and give_terminal(os.getpid(), self.pid):
            return
        if read_state(self.pid) not in ("T", "") or signal.SIGCONT in signal.sigpending():
            return  # it goes on already, or will when we have passed that on
        if number not in _TERMINAL_STOPS or number in self._inherited.ignored:
            number = signal.SIGSTOP
        self._tell_following(True)
        _stop_with(number)
        self._tell_following(False)

    def _tell_following(self, following: bool) -> None:
        if self._canary is not None:
            self._canary.tell_following(following)

    def reap(self) -> CommandExit:
        """Its exit; `poll` has said that it has ended. Raises CommandError if it could not be executed."""
        if self._canary is not None:
            self._canary.end()
        # Kept, so that this can be called again if the next line raises.
        self._exit = ended = self._exit or self._wait(0)
        assert ended is not None
        failure = os.read(self._failure, 16)
        os.close(self._failure)
        if failure:
            raise cannot_run(self.argv, int(failure))
        return ended._replace(duration_s=(self._ended_s or time.monotonic()) - self._began_s)

    def _wait(self, flags: int) -> CommandExit | None:
        pid, status, usage = os.wait4(self.pid, flags)
        if not pid:
            return None
        used = usage.ru_utime + usage.ru_stime, _peak_bytes(usage.ru_maxrss)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
            return CommandExit(_OF_A_SIGNAL + number, f"killed by {name}", *used, killed_by=number)
        code = os.WEXITSTATUS(status)
        return CommandExit(code, f"exit status {code}", *used)


def die_of(number: int) -> None:
    """End this process by a signal, without a core. Returns where that is impossible (PID 1)."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except OSError:
        return
    leave_no_core()
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


def _stop_with(number: int) -> None:
    """Stop this process; returns when it has been continued."""
    handler = None if number == signal.SIGSTOP else signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # it stops here
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if handler is not None:
        signal.signal(number, handler)


def _peak_bytes(maxrss: int) -> int:
    """`ru_maxrss` in bytes. It includes our own image before the exec, so below our image's peak it says nothing."""
    if maxrss <= _image_peak():
        return 0
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def _image_peak() -> int:
    """The most memory that our image has had, in the unit of `ru_maxrss`.

    Not our own `ru_maxrss`: that includes the image of the process that started us, which may be larger than COMMAND.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            peak = parse_proc_pid_status(status.read()).peak
    except OSError:
        peak = None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if peak is None else peak


def _shown(argument: str) -> str:
    """An argument in a message: any bytes, no control characters."""
    text = os.fsencode(argument).decode("utf-8", "backslashreplace")
    return text if text.isprintable() and text else repr(text)
