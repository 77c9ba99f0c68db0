"""/proc/PID/status: a process's user and group IDs and its capabilities (proc_pid_status(5), capabilities(7))."""

from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import fields, find_row, number

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
    try:
        uids, gids = ([number(id) for id in fields(find_row(data, key) or b"")] for key in (b"Uid:", b"Gid:"))
        permitted, effective = (int(find_row(data, key) or b"", 16) for key in (b"CapPrm:", b"CapEff:"))
    except ValueError:
        raise ParseError(SOURCE, data) from None
    if len(uids) != 4 or len(gids) != 4:
        raise ParseError(SOURCE, data)
    return Credentials(tuple(uids), tuple(gids), permitted, effective)
