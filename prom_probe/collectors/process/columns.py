"""The columns of a tree and of a process, in order, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from prom_probe.collectors.base import Context
from prom_probe.collectors.process import families as f
from prom_probe.collectors.process.maxima import Maxima
from prom_probe.collectors.process.process import STATES, Image, Process, count_states
from prom_probe.collectors.process.rule import decode
from prom_probe.collectors.process.tree import Tree
from prom_probe.model.definition import Definition
from prom_probe.model.family import Column
from prom_probe.model.labels import make_labels
from prom_probe.model.sample import STALE


class Spec(NamedTuple):
    """A column without the labels of a particular tree or process."""

    definition: Definition
    labels: Mapping[str, str] = MappingProxyType({})
    lasting: bool = False  # of a process that is to be remembered (see `ProcessSeries`)


_MODES = ({"mode": "user"}, {"mode": "system"})
_SWITCHES = ({"type": "voluntary"}, {"type": "nonvoluntary"})
_FAULTS = ({"type": "minor"}, {"type": "major"})

TREE = (
    Spec(f.PROCESSES),
    *(Spec(f.CPU, mode) for mode in _MODES),
    Spec(f.IO_READ),
    Spec(f.IO_WRITE),
    *(Spec(f.FAULTS, type) for type in _FAULTS),
    Spec(f.WAITED),
    Spec(f.PEAK),
    Spec(f.COUNTERS_START),
    Spec(f.RESIDENT_MAX),
    Spec(f.ANONYMOUS_MAX),
    Spec(f.PROCESSES_MAX),
    Spec(f.THREADS_MAX),
    Spec(f.OPEN_FDS_MAX),
    Spec(f.CPUS_MAX),
    Spec(f.RUN_QUEUE_MAX),
    Spec(f.UNATTRIBUTED),
    Spec(f.THREADS),
    Spec(f.RESIDENT),
    Spec(f.ANONYMOUS),
    Spec(f.FILE),
    Spec(f.SHARED),
    Spec(f.SWAP),
    Spec(f.VIRTUAL),
    Spec(f.OPEN_FDS),
    Spec(f.FDS_RATIO),
    *(Spec(f.STATE, {"state": state}) for state in STATES),
    Spec(f.START_TIME),
    Spec(f.WITHOUT_SERIES),
)
TREE_PSS = Spec(f.PSS), Spec(f.USS), Spec(f.WITHOUT_PSS)
TREE_SWITCHES = (
    *(Spec(f.CONTEXT_SWITCHES, type) for type in _SWITCHES),
    *(Spec(f.THREAD_STATE, {"state": state}) for state in STATES),
)
PROCESS = (
    *(Spec(f.PROCESS_CPU, mode) for mode in _MODES),
    Spec(f.PROCESS_THREADS),
    Spec(f.PROCESS_RESIDENT, lasting=True),
    Spec(f.PROCESS_VIRTUAL),
    Spec(f.PROCESS_OPEN_FDS),
    Spec(f.PROCESS_IO_READ),
    Spec(f.PROCESS_IO_WRITE),
    Spec(f.PROCESS_START_TIME),
    Spec(f.PROCESS_ANONYMOUS),
    Spec(f.PROCESS_SHARED),
    Spec(f.PROCESS_SWAP),
    Spec(f.PROCESS_PEAK),
    Spec(f.PROCESS_MAX_FDS),
    *(Spec(f.PROCESS_FAULTS, type) for type in _FAULTS),
)
PROCESS_INFO = Spec(f.PROCESS_INFO, lasting=True)
PROCESS_PSS = Spec(f.PROCESS_PSS), Spec(f.PROCESS_USS)
PROCESS_SWITCHES = tuple(Spec(f.PROCESS_CONTEXT_SWITCHES, type) for type in _SWITCHES)

DEFINITIONS: tuple[Definition, ...] = tuple(
    dict.fromkeys(
        spec.definition
        for specs in (TREE, TREE_PSS, TREE_SWITCHES, PROCESS, (PROCESS_INFO,), PROCESS_PSS, PROCESS_SWITCHES)
        for spec in specs
    )
)


class TreeColumns:
    """Makes the columns of trees and processes, and their values in base units."""

    def __init__(self, context: Context) -> None:
        self._page = context.page_bytes
        self._hz = context.ticks_per_s  # a divisor, so that decimals are exact: 1203 ticks are 12.03 s
        self._exposed = context.expose_per_process
        self._pss = context.pss_interval_s > 0
        self._switches = context.context_switches
        self.tree_specs = TREE + TREE_PSS * self._pss + TREE_SWITCHES * self._switches
        self.process_specs = PROCESS + PROCESS_PSS * self._pss + PROCESS_SWITCHES * self._switches

    def of_tree(self, name: str) -> Iterable[Column]:
        return _columns(self.tree_specs, {"tree": name}, True)

    def of_process(self, process: Process) -> Iterable[Column]:
        own = {"tree": process.tree_name, "pid": str(process.pid), "comm": decode(process.comm)}
        return _columns(self.process_specs, own, self._exposed, process.lasting)

    def of_info(self, process: Process) -> Iterable[Column]:
        own = {"tree": process.tree_name, "pid": str(process.pid), "comm": decode(process.label)}
        ppid, cmdline = process.info
        return _columns([PROCESS_INFO], {**own, "ppid": str(ppid), "cmdline": cmdline}, self._exposed, process.lasting)

    def tree(self, tree: Tree, maxima: Maxima, now_s: float, unattributed_s: float | None, since: float) -> list[float]:
        """In the order of `tree_specs`. `since`: when the counters were at zero, unix time."""
        sums = tree.sums
        values: list[float] = [tree.processes]
        if (
            tree.processes_seen
        ):  # earlier, a counter at 0 would make the first reading of an old process look like an increase
            user, system, minor, major, read, write, waited, voluntary, nonvoluntary = tree.counters
            io = (STALE, STALE) if sums.denied_io else (read, write)
            delay = STALE if sums.denied_waited else waited / 1e9
            values += (user / self._hz, system / self._hz, *io, minor, major, delay, tree.peak_process * 1024 or STALE)
            values.append(since)
        else:
            voluntary = nonvoluntary = 0
            values += (STALE,) * 9
        values += [STALE if value is None else value for value in maxima.read(now_s)]
        values.append(STALE if unattributed_s is None else unattributed_s)
        alive = tree.processes > 0
        values += self._gauges(tree) if alive else (STALE,) * (len(TREE) - len(values))
        if self._pss:
            known = tree.processes > sums.without_pss
            values += (sums.pss * 1024, sums.uss * 1024) if known else (STALE, STALE)
            values.append(sums.without_pss if alive else STALE)
        if self._switches:
            values += (voluntary, nonvoluntary) if tree.scanned else (STALE, STALE)
            states = [task[0] for process in tree.members.values() for task in process.tasks.values()]
            values += count_states(states) if states else (STALE,) * len(STATES)
        return values

    def _gauges(self, tree: Tree) -> Iterable[float]:
        sums, page = tree.sums, self._page
        shmem = STALE if sums.denied_memory else sums.shmem * 1024
        return (
            sums.threads,
            sums.resident * page,
            (sums.resident - sums.shared) * page,
            STALE if sums.denied_memory else max(0, sums.shared * page - sums.shmem * 1024),
            shmem,
            STALE if sums.denied_memory else sums.swap * 1024,
            sums.virtual * page,
            STALE if sums.denied_fds else sums.open_fds,
            STALE if sums.denied_fds or tree.fds_ratio < 0 else tree.fds_ratio,
            *tree.states,
            tree.start,
            tree.processes - tree.with_series,
        )

    def process(self, process: Process) -> list[float]:
        """In the order of `process_specs`."""
        page = self._page
        io, own = process.io_readable, process.image is Image.OWN
        memory = own and process.memory_readable
        values = [
            process.user / self._hz,
            process.system / self._hz,
            process.threads,
            process.resident * page if own else STALE,
            process.virtual * page if own else STALE,
            process.open_fds if process.fds_readable else STALE,
            process.read - process.absorbed_read if io else STALE,
            process.write - process.absorbed_write if io else STALE,
            process.wall,
            (process.resident - process.shared) * page if own else STALE,
            process.shmem * 1024 if memory else STALE,
            process.swap * 1024 if memory else STALE,
            process.peak * 1024 or STALE,
            process.max_fds or STALE,
            process.faults,
            process.major,
        ]
        if self._pss:
            values += (process.pss * 1024, process.uss * 1024) if process.pss >= 0 else (STALE, STALE)
        if self._switches:
            scanned = process.scanned_ns != -2
            values += (process.voluntary, process.nonvoluntary) if scanned else (STALE, STALE)
        return values


def _columns(specs: Iterable[Spec], own: Mapping[str, str], exposed: bool, lasting: bool = False) -> Iterator[Column]:
    for spec in specs:
        family = spec.definition.family
        labels = make_labels(family.name, {**own, **spec.labels})
        yield Column(family, labels, exposed and not spec.definition.local, lasting=lasting and spec.lasting)
