"""The workers collector: whether our own processes run, and what they cost."""

from collections import Counter

import msgspec

from prom_probe.collectors.base import Context, WorkerState
from prom_probe.collectors.odd_rows import OddRowColumns
from prom_probe.collectors.workers import families
from prom_probe.model.family import column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.errors import ParseError
from prom_probe.sources.priority import has_priority
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat, read_proc_pid_stat
from prom_probe.sources.proc_pid_statm import parse_proc_pid_statm
from prom_probe.sources.process_files import ProcessFiles


class WorkersCollector:
    """See `Collector`. Its series are always exposed; those of odd rows are of all sources that its worker reads."""

    name = "workers"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = context.descriptors
        self._workers: dict[str, _Worker] = {}
        self._priority = context.priority
        self._start = self.layout.add((column(families.START_TIME.family),))
        self._started = STALE
        self._saved: dict[str, tuple[int, int, int]] = {}
        self._stuck: dict[tuple[str, str], Group] = {}
        self._odd_rows = OddRowColumns(self.layout, context.odd_rows)
        try:
            stat = parse_proc_pid_stat(read_proc_pid_stat(context.own_procfs, context.supervisor_pid()))
            self._started = round(context.boot_time() + stat.starttime / context.ticks_per_s, 2)
        except (OSError, ParseError) as error:
            context.log("warn", str(error))

    def collect(self) -> None:
        self.layout.maybe_compact()
        self.layout.row[self._start.start] = self._started
        states = self._context.read_workers()
        for state in states:
            worker = self._workers.get(state.name)
            if worker is None:
                group = self.layout.add(column(definition.family, worker=state.name) for definition in families.WORKER)
                held, pid, ticks = self._saved.pop(state.name, (0, 0, 0))
                worker = self._workers[state.name] = _Worker(group, held if pid == state.pid else held + ticks)
            self._write(worker, state)
        for name in self._workers.keys() - {state.name for state in states}:
            worker = self._workers.pop(name)
            worker.close()
            self.layout.retire(worker.group)
        self._odd_rows.write()
        self._write_stuck()

    def _write_stuck(self) -> None:
        counts = Counter(self._context.read_stuck())
        for key in counts.keys() - self._stuck.keys():
            worker, source = key
            self._stuck[key] = self.layout.add((column(families.STUCK.family, worker=worker, source=source),))
        for key, group in self._stuck.items():
            self.layout.row[group.start] = counts[key]

    def _write(self, worker: "_Worker", state: WorkerState) -> None:
        row, start = self.layout.row, worker.group.start
        row[start] = state.up
        row[start + 1] = state.restarts
        if state.pid != worker.pid:
            worker.close()
            worker.pid = state.pid
            if state.pid:
                worker.files = ProcessFiles(self._context.own_procfs, state.pid, self._descriptors, fd_size=False)
        row[start + 3] = worker.read() * self._context.page_bytes or STALE
        row[start + 2] = (worker.held + worker.ticks) / self._context.ticks_per_s
        row[start + 4] = has_priority(state.pid, self._priority) if state.probe and state.pid else STALE

    def checkpoint(self) -> bytes:
        saved = {name: (worker.held, worker.pid, worker.ticks) for name, worker in self._workers.items()}
        return msgspec.msgpack.encode((saved, self._odd_rows.save()))

    def restore(self, state: bytes) -> None:
        try:
            self._saved, odd_rows = msgspec.msgpack.decode(state, type=tuple[dict[str, tuple[int, int, int]], bytes])
        except msgspec.DecodeError:
            return
        self._odd_rows.restore(odd_rows)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


class _Worker:
    """A worker's columns, its current process, and the ticks that its earlier processes used."""

    def __init__(self, group: Group, held: int) -> None:
        self.group = group
        self.held = held
        self.pid = 0
        self.ticks = 0
        self.files: ProcessFiles | None = None

    def read(self) -> int:
        """Read the process's files; returns its resident pages, 0 where it is gone."""
        if self.files is None:
            return 0
        try:
            stat = parse_proc_pid_stat(self.files.stat())
            self.ticks = stat.utime + stat.stime
            return parse_proc_pid_statm(self.files.statm())[1]
        except (OSError, ParseError):
            return 0

    def close(self) -> None:
        if self.files is not None:
            self.files.close()
            self.files = None
        self.held += self.ticks
        self.ticks = 0
