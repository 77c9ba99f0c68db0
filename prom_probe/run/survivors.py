"""Which processes of COMMAND's tree live on after its end."""

from __future__ import annotations

import os
from typing import NamedTuple


class Survivor(NamedTuple):
    """A process, its command name with what is not UTF-8 as \\xNN."""

    pid: int
    comm: str


def find_survivors(ancestor: int, procfs: str = "/proc") -> list[Survivor]:
    """The descendants of a process that adopts its orphans, zombies aside, by PID; none without procfs."""
    children: dict[int, list[Survivor]] = {}
    try:
        names = os.listdir(procfs)
    except OSError:
        return []
    for name in names:
        if name.isdigit() and (found := _read(procfs, name)) is not None:
            ppid, survivor = found
            children.setdefault(ppid, []).append(survivor)
    survivors: list[Survivor] = []
    parents = [ancestor]
    while parents:
        born = children.pop(parents.pop(), [])
        survivors += born
        parents += [child.pid for child in born]
    return sorted(survivors)


def _read(procfs: str, pid: str) -> tuple[int, Survivor] | None:
    """A process's parent and itself."""
    try:
        with open(f"{procfs}/{pid}/stat", "rb") as stream:
            before, _, after = stream.read().rpartition(b")")
        state, ppid = after.split()[:2]
    except (OSError, ValueError):
        return None  # it has ended
    if state in (b"Z", b"X"):
        return None
    comm = before.partition(b"(")[2].decode("utf-8", "backslashreplace")
    return int(ppid), Survivor(int(pid), comm)
