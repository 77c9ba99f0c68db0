"""/proc/PID/status: a process's user and group IDs and its capabilities (proc_pid_status(5), capabilities(7))."""

from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/status"


class Credentials(NamedTuple):
    uids: tuple[int, ...]  # real, effective, saved, file system
    gids: tuple[int, ...]
    permitted: int  # one bit for each capability
    effective: int


def read_proc_pid_credentials(procfs: str, pid: int | str) -> bytes:
    """`pid` may be "self". Raises FileNotFoundError or ProcessLookupError where the process is gone."""
    return read_once(f"{procfs}/{pid}/status")


def parse_proc_pid_credentials(data: bytes) -> Credentials:
    """Raises ParseError."""
    fields = {}
    for line in data.splitlines():
        key, _, value = line.partition(b":")
        fields[key] = value.split()
    try:
        uids, gids = (tuple(int(number) for number in fields[key]) for key in (b"Uid", b"Gid"))
        permitted, effective = (int(fields[key][0], 16) for key in (b"CapPrm", b"CapEff"))
    except (KeyError, ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
    if len(uids) != 4 or len(gids) != 4:
        raise ParseError(SOURCE, data)
    return Credentials(uids, gids, permitted, effective)
