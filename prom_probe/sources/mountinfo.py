"""/proc/PID/mountinfo: what a process sees mounted where, and which part of a filesystem (proc_pid_mountinfo(5))."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, ignore, rows, unescape

SOURCE = "/proc/PID/mountinfo"


class MountRow(NamedTuple):
    """A row, its escapes undone."""

    number: bytes
    parent: bytes  # the number of the mount that it is mounted on
    device: bytes  # major:minor
    root: bytes  # the part of the filesystem that is mounted
    point: bytes
    options: bytes  # of this mount
    fstype: bytes
    source: bytes
    super_options: bytes  # of the whole filesystem


class CgroupMount(NamedTuple):
    """A mount of a cgroup hierarchy."""

    root: str  # the cgroup at the mount point, as seen from our cgroup namespace ("/../other": outside it)
    point: str
    device: int  # st_dev below the mount point
    options: frozenset[str]  # version 1: the controllers or the name; version 2: empty


def parse_mounts(data: bytes, odd: Odd = ignore) -> list[MountRow]:
    """All mounts, in the order in which they were made. Raises ParseError if no row is good."""
    mounts = []
    for row in rows(data):
        try:
            left, right = row.split(b" - ", 1)
            number, parent, device, root, point, options = left.split(b" ", 6)[:6]
            fstype, source, super_options = right.split(b" ", 2)
            if not (number.isdigit() and parent.isdigit()):
                raise ValueError(row)
            if b"\\" in row:
                root, point, fstype, source = map(unescape, (root, point, fstype, source))
            mounts.append(MountRow(number, parent, device, root, point, options, fstype, source, super_options))
        except ValueError:
            odd(row)
    if data and not mounts:
        raise ParseError(SOURCE, data)
    return mounts


def parse_mountinfo(data: bytes, odd: Odd = ignore) -> list[CgroupMount]:
    """The cgroup mounts, in the order in which they were made."""
    mounts = []
    for mount in parse_mounts(data, odd):
        if mount.fstype not in (b"cgroup", b"cgroup2"):
            continue
        try:
            major, minor = map(int, mount.device.split(b":"))
            device = os.makedev(major, minor)
        except (ValueError, OverflowError):
            odd(b" ".join(mount))
            continue
        options = os.fsdecode(mount.super_options).split(",") if mount.fstype == b"cgroup" else ()
        mounts.append(CgroupMount(os.fsdecode(mount.root), os.fsdecode(mount.point), device, frozenset(options)))
    return mounts


def visible_mounts(mounts: Iterable[MountRow], wanted: Iterable[MountRow]) -> list[MountRow]:
    """Those `wanted` of all `mounts` that a path leads to: neither below nor at the point of a later mount on the same
    mount."""
    by_number = {mount.number: mount for mount in mounts}
    # The newest of several at one place is the one that is found.
    on = {(mount.parent, mount.point): mount.number for mount in by_number.values()}
    return [mount for mount in wanted if _is_visible(mount, by_number, on)]


def _is_visible(mount: MountRow, by_number: dict[bytes, MountRow], on: dict[tuple[bytes, bytes], bytes]) -> bool:
    if on.get((mount.number, mount.point), mount.number) != mount.number:  # it is covered at its own root
        return False
    step: MountRow | None = mount
    for _ in range(len(by_number)):  # up to the root, and never in a circle
        if step is None:
            break
        if on[step.parent, step.point] != step.number or any(
            (step.parent, above) in on for above in _above(step.point)
        ):
            return False
        step = by_number.get(step.parent) if step.parent != step.number else None
    return True


def _above(point: bytes) -> Iterable[bytes]:
    """The directories above a path, without the path itself."""
    while len(point) > 1:
        point = point.rpartition(b"/")[0] or b"/"
        yield point
