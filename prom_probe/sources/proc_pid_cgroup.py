"""/proc/PID/cgroup: the cgroups a process is in, as seen from our cgroup namespace (cgroups(7))."""

import os
from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, ignore, rows

SOURCE = "/proc/PID/cgroup"


class Membership(NamedTuple):
    """One hierarchy's line; version 2's has no controllers."""

    controllers: tuple[str, ...]
    path: str


def read_proc_pid_cgroup(procfs: str, pid: int | str) -> bytes:
    """`pid` may be "self". Raises FileNotFoundError or ProcessLookupError where the process is gone."""
    return read_once(f"{procfs}/{pid}/cgroup")


def parse_proc_pid_cgroup(data: bytes, odd: Odd = ignore) -> list[Membership]:
    """One Membership for each row. Raises ParseError if no row is good."""
    found = []
    for row in rows(data):
        number, _, rest = row.partition(b":")
        controllers, colon, path = os.fsdecode(rest).partition(":")
        if colon and number.isdigit() and path.startswith("/"):
            found.append(Membership(tuple(controllers.split(",")) if controllers else (), path))
        else:
            odd(row)
    if data and not found:
        raise ParseError(SOURCE, data)
    return found
