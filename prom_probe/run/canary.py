"""The canary: an idle process of the supervisor's group that tells whom a signal was sent to.

COMMAND is in the same group, so what is sent to the group reaches it without us; what is sent to our PID alone has to
be passed on. The sender does not tell which it was, but the canary does: it has every signal blocked, so what was sent
to the group is pending there. The kernel serves a group's newest member first, so it is pending before we see ours.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from prom_probe.run.inheritance import inherited_descriptors, leave_streams_to_command
from prom_probe.run.kernel import name_process
from prom_probe.run.prctl import die_with_parent
from prom_probe.run.terminal import give_terminal

# How long it may take to answer. A canary that does not, because somebody has killed it, is replaced; one that has
# been stopped is asked for no longer than the second number, as the kernel knows the answer too.
_ANSWER_S, _ANSWER_SOON_S = 1.0, 0.02

# How often the canary looks at the supervisor and COMMAND; and while the supervisor has stopped as COMMAND has.
_LOOK_S, _LOOK_WHILE_STOPPED_S = 0.5, 0.1

# From here on signals are queued: two are never one.
_FIRST_QUEUED = getattr(signal, "SIGRTMIN", signal.NSIG)

# What it is told, where that is no signal's number.
_FOLLOWING, _LEADING = 0x80, 0x81


class Canary:
    """The supervisor's end of it. `note_pid` is told its process ID, and 0 when there is none.

    To be made late: it shares the memory that the supervisor has by then.
    """

    def __init__(self, command: int, note_pid: Callable[[int], None]) -> None:
        self._command = command
        self._note_pid = note_pid
        self._pid = 0
        self._start()

    def _start(self) -> None:
        """Without a process to be had, each question tries again."""
        self._line, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(_ANSWER_S)
        supervisor = os.getpid()
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self._become(supervisor, line)
        except OSError:
            pass
        finally:
            line.close()
        self._note_pid(self._pid)

    def _become(self, supervisor: int, line: socket.socket) -> NoReturn:
        """In the child."""
        try:
            die_with_parent(signal.SIGKILL)
            self._line.close()
            leave_streams_to_command(inherited_descriptors())
            name_process("pp-canary")
            if os.getppid() == supervisor:
                _Watchman(supervisor, self._command, line).run()
        finally:
            os._exit(0)

    def has(self, number: int) -> bool:
        """Whether the signal that we got was sent to our group. If unknown, no: rather twice than never.

        Where the group was sent it twice, the canary may have the two as one: what waits for us too is taken as well.
        """
        found = self._ask(number)
        while found and number < _FIRST_QUEUED and number in signal.sigpending():
            signal.sigwait({number})
            self._ask(number)
        return found

    def _ask(self, number: int) -> bool:
        found = False
        try:
            self._line.send(bytes([number]))
            try:
                return self._receive(_ANSWER_SOON_S)
            except TimeoutError:
                if read_state(self._pid) != "T":
                    return self._receive(_ANSWER_S)
                found = number in read_pending(self._pid)
        except OSError:
            pass
        self._replace()
        return found

    def _receive(self, patience_s: float) -> bool:
        self._line.settimeout(patience_s)
        return self._line.recv(1) == b"\1"

    def tell_following(self, following: bool) -> None:
        """Whether the supervisor is about to stop because COMMAND has stopped."""
        try:
            self._line.send(bytes([_FOLLOWING if following else _LEADING]))
        except OSError:
            pass

    def keep(self) -> int:
        """Replace it if somebody has killed it; its process ID, 0 if there is none."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = 0
            self._replace()
        return self._pid

    def end(self) -> None:
        """End it and reap it."""
        self._line.close()
        pid, self._pid = self._pid, 0
        self._note_pid(0)
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except OSError:
                pass  # without the line it ends by itself, and is reaped as an orphan

    def _replace(self) -> None:
        self.end()
        try:
            self._start()
        except OSError:
            pass  # no descriptors to be had


class _Watchman:
    """What the canary does.

    Asked for a signal, it answers by a byte. Besides, it sees to what the supervisor cannot do while it is stopped.
    """

    def __init__(self, supervisor: int, command: int, line: socket.socket) -> None:
        self._supervisor = supervisor
        self._command = command
        self._line = line
        self._following = False
        self._apart = 0  # for how many looks the supervisor has been stopped while COMMAND was not

    def run(self) -> None:
        """Until the supervisor closes the line."""
        while True:
            pause_s = _LOOK_WHILE_STOPPED_S if self._following else _LOOK_S
            if not select.select([self._line], [], [], pause_s)[0]:
                self._look()
                continue
            asked = self._line.recv(1)
            if not asked:
                return
            if asked[0] in (_FOLLOWING, _LEADING):
                self._following, self._apart = asked[0] == _FOLLOWING, 0
            else:
                self._line.send(b"\1" if _take_pending(asked[0]) else b"\0")

    def _look(self) -> None:
        if read_state(self._supervisor) != "T":
            self._apart = 0
            give_terminal(self._supervisor, self._command)
        elif read_state(self._command) in ("T", "t", ""):
            self._apart = 0
        else:
            self._apart += 1
        if self._apart < 2:
            return
        if self._following:  # somebody has continued COMMAND alone, which is not to be continued once more
            os.kill(os.getpid(), signal.SIGCONT)
            os.kill(self._supervisor, signal.SIGCONT)
        else:  # SIGSTOP to the supervisor, which could not pass it on
            try:
                os.kill(self._command, signal.SIGSTOP)
            except PermissionError:
                pass
        self._apart = 0


def _take_pending(number: int) -> bool:
    """Whether the signal is pending; afterwards it is not, or once less."""
    if number not in signal.sigpending():
        return False
    signal.sigwait({number})
    return True


def read_pending(pid: int) -> set[int]:
    """The signals that a process has not taken yet; empty if that cannot be read."""
    try:
        with open(f"/proc/{pid}/status", "rb") as stream:
            mask = int(stream.read().partition(b"\nShdPnd:")[2].split()[0], 16)
    except (OSError, IndexError, ValueError):
        return set()
    return {number for number in range(1, signal.NSIG) if mask >> (number - 1) & 1}


def read_state(pid: int) -> str:
    """A process's state as /proc/PID/stat shows it, such as "T" for stopped; "" if that cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""
