"""The process collector: CPU, memory, descriptors, threads and IO of each watched tree, and of its processes."""

from array import array
from time import clock_gettime_ns

import msgspec

from prom_probe.collectors import process_families as families
from prom_probe.collectors.base import Context
from prom_probe.collectors.definition import READABLE
from prom_probe.collectors.roster import Roster
from prom_probe.collectors.summary import ProcessCheckpoint, TreeState, TreeSummary, decode_checkpoint
from prom_probe.collectors.tree import Process, Tree, settle
from prom_probe.collectors.watch import Found, PidRule, decode
from prom_probe.model.family import column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_io import parse_proc_pid_io
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat
from prom_probe.sources.proc_pid_statm import parse_proc_pid_statm
from prom_probe.sources.process_files import ProcessFiles, fd_size_counts

_GONE = (ProcessLookupError, FileNotFoundError)

# A process whose CPU clock stands still has done nothing: its times, faults, IO and descriptors are what they were;
# only its memory can have changed, by being swapped out. All is read again after this many collections even so (a few
# more for some, so that the work is spread).
_REST = 16


class ProcessCollector:
    """See `Collector`."""

    name = "process"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = context.descriptors
        self._roster = self._make_roster()
        self._processes: dict[int, Process] = {}  # parents before their children
        self._youngest = 0
        self._heirs: set[Process] = set()
        self._trees: dict[str, Tree] = {}
        self._groups: dict[str, Group] = {}
        self._local: dict[Process, tuple[Group, bytes]] = {}  # with the name it is labelled by
        self._empty_since: dict[str, float] = {}
        self._static = {watch.name for watch in context.watches if watch.kind != "containers"}
        self._orphans: list[tuple[int, int, str]] = []
        self._absorbed: dict[tuple[int, int], tuple[int, int]] = {}
        self._restored = b""  # until the first collection
        self._said: set[str] = set()
        self._clocks = self._roster.own_namespace  # a clock is named by a PID of our namespace
        self._fd_size = fd_size_counts(context.procfs)
        self._hz = context.ticks_per_s  # divided by, so that a decimal stays one: 1203 ticks are 12.03 s
        self._boot_time = context.boot_time()
        self._sources = self.layout.add(
            column(READABLE.family, source=source) for source in ("proc_pid_io", "proc_pid_fd")
        )
        self._io_readable = self._fds_readable = True
        for name in sorted(self._static):
            self._tree(name)

    def _make_roster(self) -> Roster:
        return Roster(self._context)

    def collect(self) -> None:
        self.layout.maybe_compact()
        self._find()
        self._io_readable = self._fds_readable = True
        for tree in self._trees.values():
            tree.begin()
        gone = [process for process in self._processes.values() if not self._read(process)]
        if gone:
            self._drop(gone)
        if gone or self._heirs:
            self._heirs = settle(gone, self._processes, self._heirs)
        for process in self._processes.values():
            process.tree.add(process)
            self._write_process(process)
        for name, tree in list(self._trees.items()):
            tree.end()
            self._write_tree(name, tree)
        row, start = self.layout.row, self._sources.start
        row[start] = self._io_readable
        row[start + 1] = self._fds_readable

    def _find(self) -> None:
        if self._orphans:
            for found, place in self._roster.readopt(self._orphans):
                self._join(found, place.tree)
            self._orphans = []
        for found, place in self._roster.refresh():
            self._join(found, place.tree)
        self._restored = b""

    def _join(self, found: Found, name: str) -> None:
        tree = self._tree(name)
        files = ProcessFiles(self._context.procfs, found.pid, self._descriptors, fd_size=self._fd_size)
        wall = round(self._boot_time + found.start / self._hz, 2)
        process = Process(found.pid, found.start, wall, name, tree, files)
        if self._restored:  # the predecessor has seen and counted it
            process.seen = self._context.local_after - 1
        else:
            tree.processes_seen += 1
        process.absorbed_read, process.absorbed_write = self._absorbed.pop((found.pid, found.start), (0, 0))
        self._processes[found.pid] = process
        if found.start < self._youngest:  # it matched late, or is an orphan: its children may be here already
            self._processes = dict(sorted(self._processes.items(), key=lambda item: item[1].start))
        self._youngest = max(self._youngest, found.start)

    def _drop(self, gone: list[Process]) -> None:
        for process in gone:
            del self._processes[process.pid]
            self._roster.forget(process.pid)
            process.files.close()
            local = self._local.pop(process, None)
            if local is not None:
                self.layout.retire(local[0])
        parents = {process.pid for process in gone}
        for process in self._processes.values():
            if process.ppid in parents:
                process.cpu_ns = -1  # it has another parent now, and need not have run for that

    def _read(self, process: Process) -> bool:
        """Read a process's files; False where it is gone. What cannot be read for another reason stays as it was."""
        try:
            # The clock comes first: what happens after it shows in the next reading of the clock.
            cpu_ns = clock_gettime_ns(process.clock) if self._clocks else -1
        except OSError:
            cpu_ns = -1  # it is gone, or the kernel does not have such clocks
        try:
            if cpu_ns == process.cpu_ns != -1 and process.rested < _REST + process.pid % 8:
                process.rest()
                if not process.zombie:
                    process.virtual, process.resident = parse_proc_pid_statm(process.files.statm())
                return True
            stat = parse_proc_pid_stat(process.files.stat())
            if stat.starttime != process.start:
                return False
            process.count(stat)
            process.cpu_ns = cpu_ns
            self._read_rest(process)
        except _GONE:
            return False
        except (OSError, ParseError) as error:
            self._say(str(error))
        return True

    def _read_rest(self, process: Process) -> None:
        """What is not in stat."""
        files = process.files
        try:
            try:
                read, write = parse_proc_pid_io(files.io())
                process.gained_read, process.gained_write = read - process.read, write - process.write
                process.read, process.write = read, write
                process.io_readable = True
            except PermissionError:  # another uid's
                process.io_readable = self._io_readable = False
            except FileNotFoundError:
                files.stat()  # raises where it is the process that is gone
                process.io_readable = self._io_readable = False  # a kernel without task IO accounting
            if process.zombie:
                process.threads = process.resident = process.virtual = process.open_fds = 0
                return
            process.virtual, process.resident = parse_proc_pid_statm(files.statm())
            try:
                process.open_fds = files.open_fds()
                process.fds_readable = True
            except PermissionError:
                process.fds_readable = self._fds_readable = False
        except _GONE:
            pass  # since its stat was read: the next collection misses it

    def _tree(self, name: str) -> Tree:
        tree = self._trees.get(name)
        if tree is None:
            tree = self._trees[name] = Tree()
        if name not in self._groups:
            self._groups[name] = self.layout.add(
                (
                    column(families.PROCESSES.family, tree=name),
                    column(families.CPU.family, tree=name, mode="user"),
                    column(families.CPU.family, tree=name, mode="system"),
                    column(families.IO_READ.family, tree=name),
                    column(families.IO_WRITE.family, tree=name),
                    column(families.THREADS.family, tree=name),
                    column(families.RESIDENT.family, tree=name),
                    column(families.VIRTUAL.family, tree=name),
                    column(families.OPEN_FDS.family, tree=name),
                    column(families.START_TIME.family, tree=name),
                )
            )
        return tree

    def _write_tree(self, name: str, tree: Tree) -> None:
        row, start = self.layout.row, self._groups[name].start
        row[start] = tree.processes
        if tree.processes_seen:  # before, a counter at 0 would make a long-lived process's first reading a jump
            user, system, read, write = tree.counters
            row[start + 1] = user / self._hz
            row[start + 2] = system / self._hz
            row[start + 3] = STALE if tree.denied_io else read
            row[start + 4] = STALE if tree.denied_io else write
        if tree.processes:
            page = self._context.page_bytes
            row[start + 5] = tree.threads
            row[start + 6] = tree.resident * page
            row[start + 7] = tree.virtual * page
            row[start + 8] = STALE if tree.denied_fds else tree.open_fds
            row[start + 9] = round(self._boot_time + tree.start / self._hz, 2)
            self._empty_since.pop(name, None)
            self._context.tree_pids[name] = tree.oldest
            return
        self._context.tree_pids.pop(name, None)
        row[start + 5 : start + 10] = array("d", [STALE] * 5)
        if name not in self._static:
            now = self._context.monotonic()
            if now - self._empty_since.setdefault(name, now) >= self._context.hold_s:
                self.layout.retire(self._groups.pop(name))
                del self._trees[name], self._empty_since[name]

    def _write_process(self, process: Process) -> None:
        page = self._context.page_bytes
        local = self._local.get(process)
        if local is None or local[1] != process.comm:
            local = self._label(process)
            if local is None:
                return
        elif process.rested:
            self.layout.row[local[0].start + 3] = process.resident * page
            self.layout.row[local[0].start + 4] = process.virtual * page
            return
        start = local[0].start
        readable = process.io_readable
        self.layout.row[start : start + 9] = array(
            "d",
            (
                process.user / self._hz,
                process.system / self._hz,
                process.threads,
                process.resident * page,
                process.virtual * page,
                process.open_fds if process.fds_readable else STALE,
                process.read - process.absorbed_read if readable else STALE,
                process.write - process.absorbed_write if readable else STALE,
                process.wall,
            ),
        )

    def _label(self, process: Process) -> tuple[Group, bytes] | None:
        """Give a process its series, or series of a new name after an exec; None where it has none yet."""
        old = self._local.pop(process, None)
        if old is not None:
            self.layout.retire(old[0])
        if process.seen < self._context.local_after or len(self._local) >= self._context.max_processes:
            return None
        labels = {"tree": process.tree_name, "pid": str(process.pid), "comm": decode(process.comm)}
        exposed = self._context.expose_per_process
        group = self.layout.add(
            (
                column(families.PROCESS_CPU.family, exposed=exposed, mode="user", **labels),
                column(families.PROCESS_CPU.family, exposed=exposed, mode="system", **labels),
                column(families.PROCESS_THREADS.family, exposed=exposed, **labels),
                column(families.PROCESS_RESIDENT.family, exposed=exposed, **labels),
                column(families.PROCESS_VIRTUAL.family, exposed=exposed, **labels),
                column(families.PROCESS_OPEN_FDS.family, exposed=exposed, **labels),
                column(families.PROCESS_IO_READ.family, exposed=exposed, **labels),
                column(families.PROCESS_IO_WRITE.family, exposed=exposed, **labels),
                column(families.PROCESS_START_TIME.family, exposed=exposed, **labels),
            )
        )
        local = self._local[process] = group, process.comm
        return local

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self._context.log("warn", what)

    def checkpoint(self) -> bytes:
        if self._restored:
            return self._restored
        roots = {rule.name: rule.root_start for rule in self._roster.rules if isinstance(rule, PidRule)}
        states = {}
        for name, tree in self._trees.items():
            user, system, read, write = tree.counters
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
            states[name] = TreeState(summary, tree.counters, tree.live, roots.get(name, 0), [], [])
        for process in self._processes.values():
            state = states[process.tree_name]
            if process.ppid not in self._processes:
                state.orphans.append((process.pid, process.start))
            if process.absorbed_read or process.absorbed_write:
                absorbed = process.pid, process.start, process.absorbed_read, process.absorbed_write
                state.absorbed_io.append(absorbed)
        return msgspec.msgpack.encode(ProcessCheckpoint(list(states.values())))

    def restore(self, state: bytes) -> None:
        for saved in decode_checkpoint(state):
            summary = saved.summary
            tree = self._tree(summary.name)
            tree.resume(saved.counters, saved.live)
            tree.processes_seen = summary.processes_seen
            tree.peak_processes = summary.peak_processes
            tree.peak_resident = summary.peak_resident_bytes // self._context.page_bytes
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
        self._roster.close()
