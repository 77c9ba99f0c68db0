"""/proc/PID/stat: a process's name, parent, times and thread count (proc_pid_stat(5))."""

from typing import NamedTuple

from prom_probe.sources.descriptors import read_first, read_once
from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/stat"


class ProcPidStat(NamedTuple):
    comm: bytes  # the thread's name: at most 15 bytes, which may be parentheses, newlines or invalid UTF-8
    state: bytes  # R, S, D, Z (zombie), T, t, I, X
    ppid: int
    minflt: int  # page faults without IO
    cminflt: int  # the same for reaped children, recursively
    majflt: int
    cmajflt: int
    utime: int  # clock ticks of all threads, including ended ones
    stime: int  # clock ticks
    cutime: int  # clock ticks of reaped children, recursively
    cstime: int  # clock ticks
    num_threads: int
    starttime: int  # clock ticks since boot
    startstack: int  # where its stack begins, another place after each exec; 0 where we may not know it


def read_proc_pid_stat(procfs: str, pid: int) -> bytes:
    """Raises FileNotFoundError or ProcessLookupError where the process is gone."""
    return read_once(f"{procfs}/{pid}/stat", read_first)


def parse_proc_pid_stat(data: bytes) -> ProcPidStat:
    """Raises ParseError."""
    try:
        close = data.rindex(b")")  # the last one: the name may contain some
        f = data[close + 2 :].split(None, 26)
        stat = ProcPidStat(
            data[data.index(b"(") + 1 : close],
            f[0],
            int(f[1]),
            int(f[7]),
            int(f[8]),
            int(f[9]),
            int(f[10]),
            int(f[11]),
            int(f[12]),
            int(f[13]),
            int(f[14]),
            int(f[17]),
            int(f[19]),
            int(f[25]),
        )
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
    if min(stat[2:]) < 0:
        raise ParseError(SOURCE, data)
    return stat


def parse_is_thread(data: bytes) -> bool:
    """Whether the ID is that of a thread and not of a process: a thread sends its parent no signal when it ends.

    /proc lists only processes, but has a directory for each thread too. Raises ParseError.
    """
    try:
        return data[data.rindex(b")") + 2 :].split(None, 36)[35] == b"-1"
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
