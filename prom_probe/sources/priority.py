"""A process's scheduling priority: asks the kernel for it, and reads what a process has (setpriority(2), sched(7))."""

import errno
import os
import time
from collections.abc import Callable

# Priorities other than "normal": a nice value, or SCHED_RR at its lowest priority.
NICE = {"high": -10}
REALTIME = "realtime"
_REALTIME_PRIORITY = 1

# The kernel lets unprivileged processes change an autogroup once in 100 ms; more often gives EAGAIN.
_AUTOGROUP_TRIES = 5
_AUTOGROUP_PAUSE_S = 0.1


def _set_nice(nice: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, nice)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def set_priority(
    priority: str,
    autogroup: str = "/proc/self/autogroup",
    *,
    set_nice: Callable[[int], None] = _set_nice,
    write: Callable[[str, bytes], None] = _write,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Give the calling process, single-threaded and alone in its session, this priority. OSError where that is denied.

    Where the kernel shares the CPU between sessions first (`autogroup`), a nice value counts within the session alone,
    so the session gets the same one. "normal" asks for nothing.
    """
    if priority == REALTIME:
        if not hasattr(os, "sched_setscheduler"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_REALTIME_PRIORITY))
    elif priority in NICE:
        nice = NICE[priority]
        set_nice(nice)
        for left in reversed(range(_AUTOGROUP_TRIES)):
            try:
                write(autogroup, b"%d" % nice)
                return
            except FileNotFoundError:
                return  # a kernel without autogroups
            except BlockingIOError:
                if not left:
                    raise
                sleep(_AUTOGROUP_PAUSE_S)


def what_it_needs(priority: str, error: OSError) -> str:
    """What would have `set_priority` succeed where it failed with this error."""
    if error.errno == errno.ENOSYS:
        return "Linux with glibc"  # musl and macOS have no scheduling policy for a process
    return f"CAP_SYS_NICE or {'RLIMIT_RTPRIO' if priority == REALTIME else 'RLIMIT_NICE'}"


def has_priority(pid: int, priority: str) -> bool:
    """Whether the process runs with this priority or a higher one."""
    try:
        if priority == REALTIME:
            return os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
        return priority not in NICE or os.getpriority(os.PRIO_PROCESS, pid) <= NICE[priority]
    except (AttributeError, OSError):
        return False
