"""Which processes have series of their own, from when to when, and under which labels."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.bucket import Bucket
from prom_probe.collectors.process.columns import TreeColumns
from prom_probe.collectors.process.info import read_cmdline
from prom_probe.collectors.process.process import Image, Process
from prom_probe.model.layout import Group, Layout

# New processes that get series in their first collection: so many at once, and so many a second from then on.
NEW_AT_ONCE = 200
NEW_PER_S = 2.0


class ProcessSeries:
    """Begins, writes and ends the series of processes, at most `context.max_processes` at a time.

    A process has series from the first collection that reads it. In a fork storm the bucket of new processes runs
    empty; then the largest and the busiest get what comes into it, and the others wait for their third collection.
    """

    def __init__(
        self,
        context: Context,
        layout: Layout,
        columns: TreeColumns,
        values: Callable[[Process], Sequence[float]],
    ) -> None:
        """`values` are a process's, in the order of `columns.process_specs`."""
        self._context = context
        self._layout = layout
        self._columns = columns
        self._values = values
        self._bucket = Bucket(NEW_AT_ONCE, NEW_PER_S)
        self._count = 0
        self.waiting: list[Process] = []  # without series

    def join(self, process: Process) -> None:
        """The process is a member of its tree now."""
        self.waiting.append(process)

    def leave(self, gone: Iterable[Process]) -> None:
        """The processes are gone; their series end."""
        left = set(gone)
        for process in left:
            self._end(process)
        self.waiting = [process for process in self.waiting if process not in left]

    def write(self, processes: Iterable[Process], now_s: float) -> None:
        """Write the values of those with series, and begin the series of those that get some."""
        for process in processes:
            group = process.group
            if group is None:
                continue
            if process.label != process.comm:  # after an exec
                self._end(process)
                group = self._begin(process)
            self._write(process, group)
        tokens = self._bucket.refill(now_s)
        if not self.waiting or self._count >= self._context.max_processes:
            return
        for process in self._admit(tokens):
            self._write(process, self._begin(process))
        self.waiting = [process for process in self.waiting if process.group is None]

    def _admit(self, tokens: int) -> Iterable[Process]:
        """Those that get series."""
        ready = [process for process in self.waiting if process.state and process.image is not Image.OURS]
        known = [process for process in ready if process.seen >= self._context.local_after]
        new = [process for process in ready if process.seen < self._context.local_after]
        room = self._context.max_processes - self._count
        first = [process for process in new if process.image is Image.OWN]
        if len(first) > min(tokens, room):
            first = largest_and_busiest(first, min(tokens, room))
        self._bucket.take(len(first))
        return [*first, *known[: room - len(first)]]

    def _write(self, process: Process, group: Group) -> None:
        values = array("d", self._values(process))
        self._layout.row[group.start : group.start + len(values)] = values
        if process.cmdline_due and self._context.cmdline:
            read_cmdline(process)
        info = process.ppid, process.cmdline
        if process.info_group is None or process.info != info:
            self._end_info(process)
            process.info = info
            process.info_group = self._layout.add(self._columns.of_info(process))
            self._layout.row[process.info_group.start] = 1.0

    def _begin(self, process: Process) -> Group:
        process.group = group = self._layout.add(self._columns.of_process(process))
        process.label = process.comm
        process.tree.with_series += 1
        self._count += 1
        return group

    def _end(self, process: Process) -> None:
        if process.group is None:
            return
        self._end_info(process)
        self._layout.retire(process.group)
        process.group = None
        process.tree.with_series -= 1
        self._count -= 1

    def _end_info(self, process: Process) -> None:
        if process.info_group is not None:
            self._layout.retire(process.info_group)
            process.info_group = None


def largest_and_busiest(processes: Sequence[Process], count: int) -> list[Process]:
    """`count` of them: in turns the one with the most resident memory and the one that has used the most CPU time."""
    by_memory = sorted(processes, key=lambda process: -process.resident)
    by_cpu = sorted(processes, key=lambda process: -(process.user + process.system))
    return list(dict.fromkeys(chain.from_iterable(zip(by_memory, by_cpu, strict=True))))[:count]
