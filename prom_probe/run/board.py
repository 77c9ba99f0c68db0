"""The workers' notice board in shared memory: which process runs each worker, and how often it was restarted.

Four cells a worker: PID (0 while it does not run), RESTARTS, STARTED (CLOCK_MONOTONIC ns), DROPPED (log lines that it
could not write). Behind them: the supervisor's DROPPED, how often each of its CALLS has failed, COMMAND's
peak, the canary's PID.
"""

import mmap
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_CELLS = 4

# What the supervisor asks of the operating system, as its errors are counted.
CALLS = ("fork", "kill", "wait", "poll", "open", "write", "reload", "collect")


class WorkerRow(NamedTuple):
    """One worker's row; `pid` is 0 while it does not run, `started_ns` is 0 while it has nothing to do."""

    name: str
    pid: int
    restarts: int
    started_ns: int


class WorkerBoard:
    """Inherited by the workers. Each process writes its own cell DROPPED, the supervisor all others."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._cells = memoryview(mmap.mmap(-1, (len(names) * _CELLS + 3 + len(CALLS)) * 8)).cast("Q")

    def started(self, name: str, pid: int) -> None:
        """The worker runs as process `pid`."""
        at = self.names.index(name) * _CELLS
        self._cells[at + 2] = time.monotonic_ns()
        self._cells[at] = pid

    def ended(self, name: str, *, restart: bool) -> None:
        """The worker's process has ended; `restart`: count it as one that failed and is started again."""
        at = self.names.index(name) * _CELLS
        self._cells[at] = 0
        if restart:
            self._cells[at + 1] += 1

    def idle(self, name: str) -> None:
        """The worker has nothing to do: its row is as before its first start, but keeps the count of restarts."""
        self._cells[self.names.index(name) * _CELLS + 2] = 0

    def note_canary(self, pid: int) -> None:
        """The canary runs as process `pid`, 0 for none."""
        self._cells[-1] = pid

    def dropped_cell(self, name: str = "") -> memoryview:
        """Where the worker counts the log lines that it could not write; without a name the supervisor."""
        at = self.names.index(name) * _CELLS + 3 if name else len(self.names) * _CELLS
        return self._cells[at : at + 1]

    def dropped_lines(self) -> int:
        """How many log lines could not be written, by all processes together."""
        return sum(self.dropped_cell(name)[0] for name in ("", *self.names))

    def failed(self, call: str) -> None:
        """One of CALLS has failed."""
        self._cells[len(self.names) * _CELLS + 1 + CALLS.index(call)] += 1

    def failures(self) -> dict[str, int]:
        """How often each of CALLS has failed."""
        at = len(self.names) * _CELLS + 1
        return {call: self._cells[at + i] for i, call in enumerate(CALLS)}

    def note_peak(self, peak_bytes: int) -> None:
        """COMMAND has ended, and had so much memory at most; 0 for not known."""
        self._cells[-2] = peak_bytes

    @property
    def peak_bytes(self) -> int:
        return self._cells[-2]

    @property
    def canary_pid(self) -> int:
        return self._cells[-1]

    def rows(self) -> Iterator[WorkerRow]:
        """All rows, as they are now."""
        cells = self._cells
        for i, name in enumerate(self.names):
            yield WorkerRow(name, cells[i * _CELLS], cells[i * _CELLS + 1], cells[i * _CELLS + 2])
