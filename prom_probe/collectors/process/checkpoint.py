"""The process collector's checkpoint, and what the end-of-run summary reads in it."""

from typing import Annotated

import msgspec

from prom_probe.collectors.process.process import COUNTERS

_Counters = Annotated[list[int], msgspec.Meta(min_length=COUNTERS, max_length=COUNTERS)]


class TreeSummary(msgspec.Struct, array_like=True):
    """What a tree has used in total."""

    name: str
    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    io_read_bytes: int = 0
    io_write_bytes: int = 0
    processes_seen: int = 0
    peak_processes: int = 0
    peak_resident_bytes: int = 0  # of the whole tree, in one collection


class TreeState(msgspec.Struct, array_like=True):
    """A tree's counters and, at the same moment, the sums over its live processes alone (see `TreeSums`)."""

    summary: TreeSummary
    counters: _Counters
    live: _Counters
    maxima: list[list[tuple[int, float]]] = []  # see `Maxima`
    window_s: float = 0.0  # length of their window
    peak_process: int = 0  # KiB
    scanned: bool = False
    unattributed_s: float | None = None
    root_start: int = 0  # start time in ticks of a pid watch's process, 0 where none was seen
    # Members that a successor cannot find by their parents: (pid, start time in ticks).
    orphans: list[tuple[int, int]] = []
    # (pid, start time, read, written bytes) to subtract from a process's IO: that of reaped children with series.
    absorbed_io: list[tuple[int, int, int, int]] = []
    earliest: int = 0  # see `Tree`


class ProcessCheckpoint(msgspec.Struct, array_like=True, tag="process2"):
    trees: list[TreeState]


def decode_checkpoint(state: bytes) -> list[TreeState]:
    """The trees of a checkpoint; none for bytes that are not one."""
    try:
        return msgspec.msgpack.decode(state, type=ProcessCheckpoint).trees
    except msgspec.DecodeError:
        return []


def read_summaries(state: bytes) -> dict[str, TreeSummary]:
    """What each tree used, by name, from a worker's state: its collectors' checkpoints by name, in msgpack.

    Empty for bytes that are not such a state, and where the process collector left nothing.
    """
    try:
        checkpoints = msgspec.msgpack.decode(state, type=dict[str, bytes])
    except msgspec.DecodeError:
        return {}
    return {tree.summary.name: tree.summary for tree in decode_checkpoint(checkpoints.get("process", b""))}
