"""The workers' notice board in shared memory: which process runs each worker, and how often it was restarted.

Four cells a worker: PID (0 while it does not run), RESTARTS, STARTED (CLOCK_MONOTONIC ns), spare. Behind them one with
the canary's PID.
"""

import mmap
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_CELLS = 4


class WorkerRow(NamedTuple):
    """One worker's row; `pid` is 0 while it does not run, `started_ns` is 0 while it has nothing to do."""

    name: str
    pid: int
    restarts: int
    started_ns: int


class WorkerBoard:
    """Written only by the supervisor, read by the workers, which inherit it."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._cells = memoryview(mmap.mmap(-1, (len(names) * _CELLS + 1) * 8)).cast("Q")

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

    @property
    def canary_pid(self) -> int:
        return self._cells[-1]

    def rows(self) -> Iterator[WorkerRow]:
        """All rows, as they are now."""
        cells = self._cells
        for i, name in enumerate(self.names):
            yield WorkerRow(name, cells[i * _CELLS], cells[i * _CELLS + 1], cells[i * _CELLS + 2])
