"""Notices a worker that waits for one file and beats no more, and keeps the file from its successors for a while."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from prom_probe.ring.slot import Slot
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat, read_proc_pid_stat
from prom_probe.sources.reading import lock_of, read_hung, read_note

# A worker is stuck after so many beats, and not before so many seconds.
STUCK_BEATS = 3
STUCK_S = 3.0

# How long a file is left out; twice as long each time that it hangs again, up to the second number.
LEFT_OUT_S = 60.0
LEFT_OUT_MOST_S = 3600.0

# A number that is a directory of /proc: a process or a thread.
_PID = re.compile(r"/\d+(?=/)")


class Roots(NamedTuple):
    """Where the program reads: see --path.procfs and the like."""

    procfs: str
    sysfs: str
    cgroupfs: str


class _Wait(NamedTuple):
    """What a worker was last seen at, and since when."""

    beats: int
    path: str
    since_s: float


class StuckFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that a worker leaves out, by the name of its kind ("/proc/PID/cmdline", "memory.current")."""

    worker: str
    source: str
    until_s: float  # of the monotonic clock


class Watchdog:
    """The supervisor's. `notes` and `beats` are of the workers that it watches, and are written by these."""

    def __init__(
        self,
        roots: Roots,
        notes: Mapping[str, memoryview],
        *,
        beats: Callable[[str], int],
        interval_s: Callable[[str], float],
        told: Slot,
    ) -> None:
        """`told` gets a list of StuckFile each time that it changes."""
        self._roots = roots
        self._notes = notes
        self._beats = beats
        self._interval_s = interval_s
        self._told = told
        self._waits: dict[str, _Wait] = {}
        self._left_out: dict[str, dict[str, tuple[float, float]]] = {}  # by worker and path: until when, how long
        self._stuck: list[StuckFile] = []

    def waiting_s(self, worker: str, pid: int, now_s: float) -> float:
        """Seconds for which the worker has been seen at the same file, without a beat and without a CPU."""
        note = self._notes.get(worker)
        path = read_note(note, self._roots.procfs) if note is not None else ""
        if not path:
            self._waits.pop(worker, None)
            return 0.0
        wait, beats = self._waits.get(worker), self._beats(worker)
        if wait is None or wait[:2] != (beats, path) or _runs(pid):
            self._waits[worker] = _Wait(beats, path, now_s)
            return 0.0
        return now_s - wait.since_s

    def is_stuck(self, worker: str, pid: int, now_s: float) -> bool:
        """To be called about once a second."""
        waiting_s = self.waiting_s(worker, pid, now_s)
        return waiting_s > 0 and waiting_s >= max(STUCK_S, STUCK_BEATS * self._interval_s(worker))

    def leave_out(self, worker: str, now_s: float) -> tuple[str, float]:
        """Keep the file that the worker waits for from its successors; the path, and for how many seconds."""
        path = self._waits.pop(worker).path
        files = self._left_out.setdefault(worker, {})
        _, before_s = files.get(lock_of(path), (0.0, 0.0))
        for_s = min(max(2 * before_s, LEFT_OUT_S), LEFT_OUT_MOST_S)
        files[lock_of(path)] = now_s + for_s, for_s
        source = name_source(path, self._roots)
        self._stuck = [stuck for stuck in self._stuck if stuck.until_s > now_s]
        self._stuck.append(StuckFile(worker, source, now_s + for_s))
        self._told.write(msgspec.msgpack.encode(self._stuck))
        return path, for_s

    def unanswered(self) -> list[tuple[str, str]]:
        """The workers with a file for which one of their threads waits, and which kind of file it is."""
        paths = {worker: read_hung(note) for worker, note in self._notes.items()}
        return [(worker, name_source(path, self._roots)) for worker, path in paths.items() if path]

    def left_out(self, worker: str) -> dict[str, float]:
        """By path, until when; see `Reading.share`."""
        return {path: until_s for path, (until_s, _) in self._left_out.get(worker, {}).items()}


def read_stuck(told: Slot, now_s: float) -> list[StuckFile]:
    """What is left out now."""
    try:
        files = msgspec.msgpack.decode(told.read() or b"\x90", type=list[StuckFile])
    except msgspec.DecodeError:
        return []
    return [file for file in files if file.until_s > now_s]


def name_source(path: str, roots: Roots) -> str:
    """The kind of file: without the numbers of processes, and of a cgroup's file only the name."""
    name = path.rpartition("/")[2]
    if path.startswith(f"{roots.cgroupfs}/"):
        return name
    if path.startswith(f"{roots.procfs}/"):
        inside = _PID.sub("/PID", path[len(roots.procfs) :])
        return name if "/root/" in inside else f"/proc{inside}"
    return f"/sys{path[len(roots.sysfs) :]}" if path.startswith(f"{roots.sysfs}/") else path


def _runs(pid: int) -> bool:
    """Whether the process has a CPU or waits for one: it is slow, not stuck."""
    try:
        return parse_proc_pid_stat(read_proc_pid_stat("/proc", pid)).state == b"R"
    except (OSError, ParseError):
        return False
