"""/proc/PID/mountinfo: where a process sees cgroup hierarchies, and which part of them (proc_pid_mountinfo(5))."""

import os
from typing import NamedTuple

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/mountinfo"


class CgroupMount(NamedTuple):
    """A mount of a cgroup hierarchy."""

    root: str  # the cgroup at the mount point, as seen from our cgroup namespace ("/../other": outside it)
    point: str
    device: int  # st_dev below the mount point
    options: frozenset[str]  # version 1: the controllers or the name; version 2: empty


def parse_mountinfo(data: bytes) -> list[CgroupMount]:
    """The cgroup mounts, in the order in which they were made. Raises ParseError."""
    mounts = []
    for line in data.splitlines():
        left, separator, right = line.partition(b" - ")
        try:
            if not separator:
                raise ParseError(SOURCE, line)
            kind, _, options = right.split(b" ", 2)
            if kind not in (b"cgroup", b"cgroup2"):
                continue
            _, _, device, root, point, _ = left.split(b" ", 5)
            major, minor = map(int, device.split(b":"))
            names = frozenset(os.fsdecode(options).split(",")) if kind == b"cgroup" else frozenset[str]()
            mounts.append(CgroupMount(_path(root), _path(point), os.makedev(major, minor), names))
        except (ValueError, OverflowError):
            raise ParseError(SOURCE, line) from None
    return mounts


def unescape(text: bytes) -> bytes:
    """Undo the octal escapes (\\040) that stand for spaces and the like. Raises ValueError."""
    if b"\\" in text:
        first, *rest = text.split(b"\\")
        text = first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
    return text


def _path(text: bytes) -> str:
    return os.fsdecode(unescape(text))
