"""The process collector: CPU, memory, descriptors, threads and IO of each watched tree, and of its processes."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import msgspec

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.checkpoint import ProcessCheckpoint, TreeState, TreeSummary, decode_checkpoint
from prom_probe.collectors.process.columns import TreeColumns
from prom_probe.collectors.process.image import Images
from prom_probe.collectors.process.maxima import Maxima
from prom_probe.collectors.process.membership import encode_members
from prom_probe.collectors.process.peaks import count_command_peak, peak_between
from prom_probe.collectors.process.process import Process
from prom_probe.collectors.process.process_series import ProcessSeries
from prom_probe.collectors.process.pss_and_threads import Pss, Threads
from prom_probe.collectors.process.reader import ProcessReader
from prom_probe.collectors.process.roster import Roster
from prom_probe.collectors.process.rule import Candidate
from prom_probe.collectors.process.rules import PidRule
from prom_probe.collectors.process.tree import Tree, settle
from prom_probe.collectors.process.unattributed import Unattributed
from prom_probe.collectors.process.unmatched import Unmatched
from prom_probe.model.definition import READABLE
from prom_probe.model.family import column
from prom_probe.model.layout import Group, Layout
from prom_probe.sources.cgroup_path import CgroupLocator
from prom_probe.sources.process_clock import read_process_clock
from prom_probe.sources.process_files import ProcessFiles, fd_size_counts

# A change of the boot time (wall clock less uptime) that is a step of the clock, and not its slow adjustment.
_STEP_S = 0.5

_SOURCES = ("proc_pid_io", "proc_pid_fd", "proc_pid_schedstat")


class Watched:
    """A tree with its maxima, its columns and its unattributed CPU time."""

    def __init__(self, name: str, context: Context, locator: CgroupLocator, group: Group) -> None:
        self.tree = Tree()
        self.maxima = Maxima(context)
        self.unattributed = Unattributed(name, context, locator)
        self.group = group
        self.empty_since: float | None = None


class ProcessCollector:
    """See `Collector`."""

    name = "process"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = context.descriptors
        self._locator = CgroupLocator(context.procfs, context.cgroupfs)
        self._roster = self._make_roster()
        self._processes: dict[int, Process] = {}  # parents before their children
        self._youngest = 0
        self._heirs: set[Process] = set()
        self._watched: dict[str, Watched] = {}
        self._static = {watch.name for watch in context.watches if watch.kind != "containers"}
        self._unmatched = Unmatched(context)
        self._orphans: list[tuple[int, int, str]] = []
        self._absorbed: dict[tuple[int, int], tuple[int, int]] = {}
        self._restored = b""  # until the first collection
        self._said: set[str] = set()
        self._fd_size = fd_size_counts(context.procfs)
        self._hz = context.ticks_per_s
        self._boot_time = context.boot_time()
        self._last_ticks = 0.0  # when the last collection began, in ticks since boot
        self._columns = TreeColumns(context)
        self._series = ProcessSeries(context, self.layout, self._columns, self._process_values, self._say)
        self._reader = ProcessReader(
            read_clock=self._find_clock(),
            main_thread_waits=not context.context_switches,
            say=self._say,
            odd_rows=context.odd_rows,
        )
        self._images = Images(context.procfs, context.own_pids, self._reader.reread)
        self._threads = Threads(self._say, context.odd_rows) if context.context_switches else None
        self._pss = Pss(context, self._say) if context.pss_interval_s > 0 else None
        sources = _SOURCES + ("proc_pid_smaps_rollup",) * (self._pss is not None)
        self._sources = self.layout.add(column(READABLE.family, source=source) for source in sources)
        self._published = False  # whether the current members have been published
        for name in sorted(self._static):
            self._watch(name)

    def _make_roster(self) -> Roster:
        return Roster(self._context)

    def _find_clock(self) -> Callable[[int], int] | None:
        if self._context.process_clock is not None:
            return self._context.process_clock
        return read_process_clock if self._roster.own_namespace else None

    def collect(self) -> None:
        self.layout.maybe_compact()
        now_ticks = self._follow_clock()
        for watched in self._watched.values():
            watched.unattributed.begin()
        self._find(now_ticks)
        begun_s = self._context.monotonic()
        self._read_all()
        now_s = self._context.monotonic()
        for name, watched in self._watched.items():
            watched.tree.end(self._peak_between(name, watched.tree, now_ticks))
            watched.maxima.add(watched.tree, begun_s, now_s)
            watched.unattributed.read(watched.tree, self._processes, settled=not self._heirs)
        self._series.write(self._processes.values(), now_s)
        for name, watched in list(self._watched.items()):
            self._write_tree(name, watched, now_s)
        self._write_sources()
        self._unmatched.look(name for name, watched in self._watched.items() if watched.tree.processes_seen)
        self._last_ticks = now_ticks
        if not self._published:
            self._published = True
            members = ((process.tree_name, pid) for pid, process in self._processes.items())
            self._context.publish_members(encode_members(members, self._watched))

    def _peak_between(self, name: str, tree: Tree, now_ticks: float) -> int:
        """Resident pages that a tree had at a moment since the last collection; at COMMAND's end, since its start."""
        page_bytes = self._context.page_bytes
        between = peak_between(tree.members.values(), page_bytes)
        command_tree, peak_bytes = self._context.command_peak()
        if peak_bytes and name == command_tree:
            command = count_command_peak(tree, peak_bytes)
            if command is not None and now_ticks - command.start < self._context.max_window_s * self._hz:
                return max(between, peak_bytes // page_bytes)
        return between

    def _read_all(self) -> None:
        processes = self._processes
        gone = self._read()
        if gone:
            self._drop(gone)
        for process in self._series.waiting:
            process.seen += process.state != b""
            if process.seen == 1 and process.start < self._last_ticks - 2:
                process.tree.brought += process.ticks
                process.tree.brought_waited += process.waited
        if gone or self._heirs:
            self._heirs = settle(gone, processes, self._heirs)
        self._images.look(processes)
        for watched in self._watched.values():
            self._reader.read_peaks(watched.tree.members.values())
        if self._threads is not None:
            self._threads.read(processes.values())
        if self._pss is not None:
            self._pss.read(processes.values())

    def _follow_clock(self) -> float:
        """Keep start times in step with the wall clock; returns the ticks since boot."""
        boot_time = self._context.boot_time()
        if abs(boot_time - self._boot_time) > _STEP_S:
            self._boot_time = boot_time
            for process in self._processes.values():
                process.wall = self._wall(process.start)
        return (self._context.wall() - boot_time) * self._hz

    def _wall(self, start: int) -> float:
        """A start time, ticks since boot, in unix time."""
        return round(self._boot_time + start / self._hz, 2)

    def _find(self, now_ticks: float) -> None:
        placed = []
        if self._orphans:
            placed += self._roster.readopt(self._orphans)
            self._orphans = []
        placed += self._roster.refresh()
        recent = now_ticks - self._context.max_window_s * self._hz
        for found, place in placed:
            self._join(found, place.tree, recent=found.start >= recent)
        self._restored = b""

    def _join(self, found: Candidate, name: str, *, recent: bool) -> None:
        tree = self._watch(name).tree
        files = ProcessFiles(
            self._context.procfs,
            found.pid,
            self._descriptors,
            fd_size=self._fd_size,
            read_locked=self._context.read_locked,
        )
        process = Process(found.pid, found.start, self._wall(found.start), name, tree, files)
        process.recent = recent
        if self._restored:  # the predecessor has counted it
            process.seen = self._context.local_after - 1
        else:
            tree.processes_seen += 1
        process.absorbed_read, process.absorbed_write = self._absorbed.pop((found.pid, found.start), (0, 0))
        self._processes[found.pid] = process
        self._series.join(process)
        tree.join(process)
        self._published = False
        if found.start < self._youngest:  # it matched late, or is an orphan: its children may be members already
            self._processes = dict(sorted(self._processes.items(), key=lambda item: item[1].start))
        self._youngest = max(self._youngest, found.start)

    def _drop(self, gone: list[Process]) -> None:
        self._published = False
        for process in gone:
            del self._processes[process.pid]
            self._roster.forget(process.pid)
            process.tree.leave(process)
            process.files.close()
        self._series.leave(gone)
        parents = {process.pid for process in gone}
        for process in self._processes.values():
            if process.ppid in parents:
                process.cpu_ns = -1  # it has another parent now without having run: read it again

    def _read(self) -> list[Process]:
        """Read the processes; returns those that are gone."""
        return self._reader.read(self._processes.values())

    def _watch(self, name: str) -> Watched:
        watched = self._watched.get(name)
        if watched is None:
            group = self.layout.add(self._columns.of_tree(name))
            watched = self._watched[name] = Watched(name, self._context, self._locator, group)
        return watched

    def _write_tree(self, name: str, watched: Watched, now_s: float) -> None:
        tree, start = watched.tree, watched.group.start
        values = array("d", self._tree_values(watched, now_s))
        self.layout.row[start : start + len(values)] = values
        if tree.processes:
            watched.empty_since = None
            self._context.tree_pids[name] = tree.oldest
            return
        self._context.tree_pids.pop(name, None)
        if name not in self._static:
            if watched.empty_since is None:
                watched.empty_since = now_s
            if now_s - watched.empty_since >= self._context.hold_s:
                self.layout.retire(watched.group)
                watched.unattributed.close()
                del self._watched[name]

    def _tree_values(self, watched: Watched, now_s: float) -> list[float]:
        unattributed = watched.unattributed
        over = unattributed.whole or not watched.tree.processes
        since = self._wall(watched.tree.earliest)
        return self._columns.tree(watched.tree, watched.maxima, now_s, unattributed.seconds if over else None, since)

    def _process_values(self, process: Process) -> list[float]:
        return self._columns.process(process)

    def _write_sources(self) -> None:
        denied_io = denied_fds = denied_waited = 0
        for watched in self._watched.values():
            sums = watched.tree.sums
            denied_io += sums.denied_io
            denied_fds += sums.denied_fds
            denied_waited += sums.denied_waited
        readable: list[float] = [not denied_io, not denied_fds, not denied_waited]
        if self._pss is not None:
            readable.append(self._pss.readable)
        start = self._sources.start
        self.layout.row[start : start + len(readable)] = array("d", readable)

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self._context.log("warn", what)

    def checkpoint(self) -> bytes:
        if self._restored:
            return self._restored
        roots = {rule.name: rule.root_start for rule in self._roster.rules if isinstance(rule, PidRule)}
        states = {name: self._state(name, watched, roots.get(name, 0)) for name, watched in self._watched.items()}
        for process in self._processes.values():
            if process.ppid not in self._processes:
                states[process.tree_name].orphans.append((process.pid, process.start))
            if process.absorbed_read or process.absorbed_write:
                absorbed = process.pid, process.start, process.absorbed_read, process.absorbed_write
                states[process.tree_name].absorbed_io.append(absorbed)
        return msgspec.msgpack.encode(ProcessCheckpoint(list(states.values())))

    def _state(self, name: str, watched: Watched, root_start: int) -> TreeState:
        tree = watched.tree
        user, system, _, _, read, write, *_ = tree.counters
        summary = TreeSummary(
            name,
            user / self._hz,
            system / self._hz,
            read,
            write,
            tree.processes_seen,
            tree.peak_processes,
            tree.peak_resident * self._context.page_bytes,
        )
        return TreeState(
            summary,
            tree.counters,
            tree.live,
            watched.maxima.save(),
            self._context.max_window_s,
            tree.peak_process,
            tree.scanned,
            watched.unattributed.seconds,
            root_start,
            [],
            [],
            tree.earliest,
        )

    def restore(self, state: bytes) -> None:
        for saved in decode_checkpoint(state):
            summary = saved.summary
            self._unmatched.forget(summary.name)
            watched = self._watch(summary.name)
            tree = watched.tree
            tree.resume(saved.counters, saved.live)
            tree.processes_seen = summary.processes_seen
            tree.peak_processes = summary.peak_processes
            tree.peak_resident = summary.peak_resident_bytes // self._context.page_bytes
            tree.peak_process = saved.peak_process
            tree.scanned = saved.scanned
            tree.earliest = saved.earliest
            if saved.window_s == self._context.max_window_s:
                watched.maxima.restore(saved.maxima)
            watched.unattributed.seconds = saved.unattributed_s
            self._orphans += [(pid, start, summary.name) for pid, start in saved.orphans]
            for pid, start, read, write in saved.absorbed_io:
                self._absorbed[pid, start] = read, write
            for rule in self._roster.rules:
                if isinstance(rule, PidRule) and rule.name == summary.name:
                    rule.root_start = saved.root_start
            self._restored = state

    def close(self) -> None:
        for process in self._processes.values():
            process.files.close()
        for watched in self._watched.values():
            watched.unattributed.close()
        self._roster.close()
