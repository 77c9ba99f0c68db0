"""/proc/PID/status: the parts of a process's memory; /proc/PID/task/TID/status: a thread's context switches
(proc_pid_status(5))."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/status"


class MemoryStatus(NamedTuple):
    """In KiB. A kernel thread and a zombie have no memory: None."""

    peak: int | None  # VmHWM: the largest resident size so far
    shmem: int | None  # RssShmem: resident pages of shared memory and tmpfs
    swap: int | None  # VmSwap: private pages in swap, without shared memory


def parse_proc_pid_status(data: bytes) -> MemoryStatus:
    """Raises ParseError."""
    return MemoryStatus(_find_kib(data, b"\nVmHWM:"), _find_kib(data, b"\nRssShmem:"), _find_kib(data, b"\nVmSwap:"))


def parse_task_status(data: bytes) -> tuple[bytes, int, int]:
    """(state, voluntary, nonvoluntary): a thread's state as in /proc/PID/stat, and its context switches so far.

    Raises ParseError.
    """
    try:
        state = data.index(b"\nState:") + 7
        voluntary = data.index(b"\nvoluntary_ctxt_switches:") + 25
        nonvoluntary = data.index(b"\nnonvoluntary_ctxt_switches:", voluntary) + 28
        return (
            data[state : state + 4].split(None, 1)[0],
            int(data[voluntary : data.index(b"\n", voluntary)]),
            int(data[nonvoluntary : data.index(b"\n", nonvoluntary)]),
        )
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None


def _find_kib(data: bytes, key: bytes) -> int | None:
    start = data.find(key)
    if start < 0:
        return None
    try:
        return int(data[start + len(key) : data.index(b" kB", start)])
    except ValueError:
        raise ParseError(SOURCE, data) from None
