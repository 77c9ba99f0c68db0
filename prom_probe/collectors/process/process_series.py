"""Which processes have series of their own, from when to when, and under which labels."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.bucket import Bucket
from prom_probe.collectors.process.columns import TreeColumns
from prom_probe.collectors.process.info import read_cmdline
from prom_probe.collectors.process.process import Image, Process
from prom_probe.collectors.process.rule import decode
from prom_probe.model.layout import Group, Layout
from prom_probe.model.run_event import RunEvent

# New processes that get series in their first collections: so many at once, and so many a second from then on.
NEW_AT_ONCE = 200
NEW_PER_S = 2.0
# The same for those that have waited.
WAITED_AT_ONCE = 200
WAITED_PER_S = 2.0
# The same for those that take another name without an exec: some do with each task.
RENAMED_AT_ONCE = 200
RENAMED_PER_S = 2.0


class ProcessSeries:
    """Begins, writes and ends the series of processes, at most `context.max_processes` at a time.

    A process has series from the first collection that reads it. In a fork storm the bucket of new processes runs
    empty; then the largest and the busiest get what comes into it, and the others wait for their third collection.
    From then on those that have waited for longest and the largest get what comes into another bucket. Processes that
    were there before the first collection need none of its tokens.

    The largest newcomer of each collection is the first to get series, and is remembered longest (`Column.lasting`).
    """

    def __init__(
        self,
        context: Context,
        layout: Layout,
        columns: TreeColumns,
        values: Callable[[Process], Sequence[float]],
        say: Callable[[str], None] = lambda what: None,
    ) -> None:
        """`values` are a process's, in the order of `columns.process_specs`. `say` logs what hangs, once."""
        self._context = context
        self._layout = layout
        self._columns = columns
        self._values = values
        self._say = say
        self._new = Bucket(NEW_AT_ONCE, NEW_PER_S)
        self._waited = Bucket(WAITED_AT_ONCE, WAITED_PER_S)
        self._renamed = Bucket(RENAMED_AT_ONCE, RENAMED_PER_S)
        self._renaming: dict[Process, None] = {}  # have another name than their series, the longest first
        self._largest_before = 0  # resident pages of the largest newcomer of the collection before
        self._count = 0
        self.waiting: list[Process] = []  # without series
        self._standing: set[Process] = set()  # those that the first collection found
        self._begun = False

    def join(self, process: Process) -> None:
        """The process is a member of its tree now."""
        self.waiting.append(process)
        if not self._begun:
            self._standing.add(process)

    def leave(self, gone: Iterable[Process]) -> None:
        """The processes are gone; their series end."""
        left = set(gone)
        for process in left:
            self._end(process)
        self.waiting = [process for process in self.waiting if process not in left]
        self._standing -= left

    def write(self, processes: Iterable[Process], now_s: float) -> None:
        """Write the values of those with series, and begin the series of those that get some."""
        renaming = []
        for process in processes:
            group = process.group
            if group is None:
                continue
            if process.label != process.comm and not process.executed:
                renaming.append(process)
                continue
            if process.label != process.comm:
                group = self._rename(process)
            self._write(process, group)
            if process.executed:
                process.executed = False
                self._tell_exec(process)
        self._write_renaming(renaming, self._renamed.refill(now_s))
        self._begun = True
        tokens = self._new.refill(now_s), self._waited.refill(now_s)
        ready = [process for process in self.waiting if process.state and process.image is not Image.OURS]
        new = self._choose_new(ready, tokens[0])
        waited = self._choose_waited(ready, self._room - len(new), tokens[1])
        for process in chain(new, waited):
            process.executed = False  # before it had series
            self._write(process, self._begin(process))
        self.waiting = [process for process in self.waiting if process.group is None]

    def _write_renaming(self, processes: Sequence[Process], tokens: int) -> None:
        """Give as many as there are tokens their name; the others keep the one that they had."""
        still = set(processes)
        queue = dict.fromkeys((*(process for process in self._renaming if process in still), *processes))
        for process in islice(queue, tokens):
            self._write(process, self._rename(process))
        self._renamed.take(min(tokens, len(queue)))
        self._renaming = dict.fromkeys(islice(queue, tokens, None))
        for process in self._renaming:
            if process.group is not None:
                self._write(process, process.group)

    def _rename(self, process: Process) -> Group:
        self._end(process)
        process.cmdline_due = True
        return self._begin(process)

    @property
    def _room(self) -> int:
        return max(0, self._context.max_processes - self._count)

    def _choose_new(self, ready: Iterable[Process], tokens: int) -> list[Process]:
        """Those that get series before their third collection."""
        new = [process for process in ready if process.seen < self._context.local_after and process.image is Image.OWN]
        outstanding = self._find_outstanding(new)
        for process in outstanding:
            process.lasting = True
        ranked = dict.fromkeys(chain(outstanding, in_turns(by_cpu(new), by_memory(new))))
        chosen = list(islice(ranked, min(tokens, self._room)))
        self._new.take(len(chosen))
        return chosen

    def _find_outstanding(self, new: Sequence[Process]) -> list[Process]:
        """The largest of those that are read for the first time, and one that has outgrown its predecessor since."""
        largest = max((process for process in new if process.seen <= 1), key=_resident, default=None)
        grown = max((process for process in new if process.seen > 1), key=_resident, default=None)
        if grown is not None and grown.resident <= self._largest_before:
            grown = None
        self._largest_before = largest.resident if largest is not None else 0
        return [process for process in (largest, grown) if process is not None]

    def _choose_waited(self, ready: Sequence[Process], room: int, tokens: int) -> list[Process]:
        """Those that get series in their third collection, or later."""
        waited = [process for process in ready if process.seen >= self._context.local_after]
        standing = [process for process in waited if process in self._standing][:room]
        others = [process for process in waited if process not in self._standing]
        chosen = in_turns(others, by_memory(others))[: min(tokens, room - len(standing))]
        self._waited.take(len(chosen))
        return standing + chosen

    def _write(self, process: Process, group: Group) -> None:
        values = array("d", self._values(process))
        self._layout.row[group.start : group.start + len(values)] = values
        if self._context.cmdline and process.wants_cmdline():
            read_cmdline(process, self._say)
        info = process.ppid, process.cmdline
        if process.info_group is None or process.info != info:
            self._end_info(process)
            process.info = info
            process.info_group = self._layout.add(self._columns.of_info(process))
            self._layout.row[process.info_group.start] = 1.0

    def _tell_exec(self, process: Process) -> None:
        text = process.cmdline or decode(process.comm)
        self._context.happened(RunEvent(self._context.wall(), "exec", process.tree_name, process.pid, text))

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


def by_memory(processes: Iterable[Process]) -> list[Process]:
    """The one with the most resident memory first."""
    return sorted(processes, key=_resident, reverse=True)


def by_cpu(processes: Iterable[Process]) -> list[Process]:
    """The one that has used the most CPU time first."""
    return sorted(processes, key=lambda process: process.user + process.system, reverse=True)


def in_turns(*orders: Sequence[Process]) -> list[Process]:
    """The first of each order, then the second of each, and so on; each process once."""
    return list(dict.fromkeys(chain.from_iterable(zip(*orders, strict=True))))


def _resident(process: Process) -> int:
    return process.resident
