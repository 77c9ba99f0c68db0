"""What COMMAND inherits from whoever started us, although Python or the supervisor has changed it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import NamedTuple

# Every signal that can be blocked.
SIGNALS = frozenset(int(number) for number in signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}

# Python ignores these from its start; what it inherited can no longer be seen.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}

_STANDARD_STREAMS = 3

# A service manager's variables that name the process they are meant for: sd_listen_fds(3), sd_watchdog_enabled(3).
_MEANT_FOR = ("LISTEN_PID", "WATCHDOG_PID")

# What stands beside LISTEN_PID in newer versions and names the process in another way. It may be missing.
_LISTEN_PIDFDID = "LISTEN_PIDFDID"


class Inheritance(NamedTuple):
    """The signals that were blocked, and those that were ignored."""

    blocked: frozenset[int]
    ignored: frozenset[int]

    def restore(self) -> None:
        """In a child that is about to exec: mask, dispositions and environment as they were inherited."""
        for number in SIGNALS:
            try:
                signal.signal(number, signal.SIG_IGN if number in self.ignored else signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # the C library keeps this signal for itself
        restore_environment()
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)


def block_signals() -> frozenset[int]:
    """Block every signal: what comes waits. Returns what was blocked before."""
    return frozenset(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS))


def take_inheritance(blocked: Iterable[int]) -> Inheritance:
    """What this process has inherited; `blocked` is what was blocked before `block_signals`.

    Afterwards SIGCHLD is not ignored: who ignores it cannot wait for its children.
    """
    ignored = {number for number in SIGNALS - _IGNORED_BY_PYTHON if signal.getsignal(number) == signal.SIG_IGN}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return Inheritance(frozenset(blocked), frozenset(ignored))


def restore_environment(path: str = "/proc/self/environ") -> None:
    """Undo what Python does to LC_CTYPE where the locale is C (PEP 538). `path`: the environment of the exec."""
    if "LC_CTYPE" not in os.environ:
        return
    try:
        with open(path, "rb") as stream:
            given = stream.read().split(b"\0")
    except OSError:
        return
    inherited = next((each[len(b"LC_CTYPE=") :] for each in given if each.startswith(b"LC_CTYPE=")), None)
    if inherited is None:
        del os.environ["LC_CTYPE"]
    elif inherited != os.environb[b"LC_CTYPE"]:
        os.environb[b"LC_CTYPE"] = inherited


def take_over_environment(process: int) -> None:
    """What the environment has for `process` is for this process, which becomes the program that was to be started."""
    for name in _MEANT_FOR:
        if os.environ.get(name) == str(process):
            os.environ[name] = str(os.getpid())
            os.environ.pop(_LISTEN_PIDFDID, None)


def fill_standard_streams() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed, so that nothing else gets its number.

    It is closed again by the next exec.
    """
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) < _STANDARD_STREAMS:
            pass
        os.close(fd)
    except OSError:
        pass  # there is no /dev/null


def inherited_descriptors() -> list[int]:
    """The descriptors above 2 that this process has inherited and would leave to a program that it executes."""
    try:
        listed = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return []
    return [fd for fd in listed if fd >= _STANDARD_STREAMS and _is_inheritable(fd)]


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False  # it was the listing's own


def leave_streams_to_command(descriptors: Iterable[int]) -> None:
    """Keep nothing open that only COMMAND uses, so that a pipe ends and a lock is released when it lets go of them."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
    except OSError:
        return
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    for fd in descriptors:
        try:
            os.close(fd)
        except OSError:
            pass
