"""/proc/PID/cgroup: the cgroups a process is in, as seen from our cgroup namespace (cgroups(7))."""

from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/cgroup"


class Membership(NamedTuple):
    """One hierarchy's line; version 2's has no controllers."""

    controllers: tuple[str, ...]
    path: str


def read_proc_pid_cgroup(procfs: str, pid: int | str) -> bytes:
    """`pid` may be "self". Raises FileNotFoundError or ProcessLookupError where the process is gone."""
    return read_once(f"{procfs}/{pid}/cgroup")


def parse_proc_pid_cgroup(data: bytes) -> list[Membership]:
    """One Membership for each line. Raises ParseError."""
    found = []
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            raise ParseError(SOURCE, data)
        controllers = tuple(parts[1].split(",")) if parts[1] else ()
        found.append(Membership(controllers, parts[2]))
    return found
