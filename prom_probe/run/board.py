"""The workers' notice board: which process runs each worker, and how often it was restarted.

Four cells a worker: PID (0 while there is none), RESTARTS, STARTED (CLOCK_MONOTONIC ns), spare.
"""

import mmap
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_CELLS = 4


class WorkerRow(NamedTuple):
    """One worker's row; `pid` is 0 while it does not run, `started_ns` while it has nothing to do."""

    name: str
    pid: int
    restarts: int
    started_ns: int


class Board:
    """Written by the supervisor alone, read by the workers; shared by fork."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._cells = memoryview(mmap.mmap(-1, max(1, len(names)) * _CELLS * 8)).cast("Q")

    def started(self, name: str, pid: int) -> None:
        at = self.names.index(name) * _CELLS
        self._cells[at + 2] = time.monotonic_ns()
        self._cells[at] = pid

    def ended(self, name: str, *, restart: bool) -> None:
        at = self.names.index(name) * _CELLS
        self._cells[at] = 0
        if restart:
            self._cells[at + 1] += 1

    def retired(self, name: str) -> None:
        """There is nothing for it to do: as if it had never been started, but for its restarts."""
        self._cells[self.names.index(name) * _CELLS + 2] = 0

    def rows(self) -> Iterator[WorkerRow]:
        cells = self._cells
        for i, name in enumerate(self.names):
            yield WorkerRow(name, cells[i * _CELLS], cells[i * _CELLS + 1], cells[i * _CELLS + 2])
