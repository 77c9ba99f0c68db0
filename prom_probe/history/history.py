"""What happened in a run: its processes and its events, in memory and, with a path, in the file `history`."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from prom_probe.history.packed import PackedRecords
from prom_probe.history.process_record import ProcessRecord
from prom_probe.history.run_info import RunInfo, maybe_run_info
from prom_probe.history.tracker import ProcessTracker
from prom_probe.model.family import Column
from prom_probe.model.run_event import RunEvent
from prom_probe.tsdb.store import Store

if TYPE_CHECKING:
    from prom_probe.history.history_file import HistoryFile

MOST_PROCESSES = 5_000
MOST_EVENTS = 5_000

# The collector whose columns are processes.
PROCESS_COLLECTOR = "process"

# How often to look for what is older than the oldest sample.
_RETAIN_S = 60.0

# An aggregator that comes back gets the frames again that the one before had popped last: so many events are compared.
_RECENT = 256

_PROCESS, _EVENT = b"p", b"e"
_pack = msgspec.msgpack.Encoder().encode
_process_of = msgspec.msgpack.Decoder(ProcessRecord).decode
_event_of = msgspec.msgpack.Decoder(RunEvent).decode


class HistoryShot(NamedTuple):
    """The history as it was at a moment; any thread may use it."""

    run: RunInfo
    lives: Sequence[ProcessRecord]
    ended: Sequence[bytes]
    happened: Sequence[bytes]

    def processes(self, start: float, end: float, trees: Collection[str] = ()) -> list[ProcessRecord]:
        """Those with samples from `start` to `end` (unix seconds), the largest peak first; no trees: of any."""
        found = [
            record
            for record in (*map(_process_of, self.ended), *self.lives)
            if record.last >= start and record.first <= end and (not trees or record.tree in trees)
        ]
        return sorted(found, key=lambda record: (-record.memory_peak_bytes, record.start, record.pid))

    def events(
        self, start: float, end: float, types: Collection[str] = (), trees: Collection[str] = ()
    ) -> list[RunEvent]:
        """Those from `start` to `end` (unix seconds), oldest first; no types, no trees: of any."""
        processes = [*map(_process_of, self.ended), *self.lives]
        of_processes = sorted((event for record in processes for event in _events_of(record)), key=_order)
        others = sorted(map(_event_of, self.happened), key=_order)
        return [
            event
            for event in merge(of_processes, others, key=_order)
            if start <= event.t <= end and (not types or event.type in types) and (not trees or event.tree in trees)
        ]


class HistorySource(Protocol):
    """What can tell what happened."""

    def shot(self) -> HistoryShot:
        """As of now."""


class History:
    """All methods are for the store's thread."""

    def __init__(self, run: RunInfo, store: Store) -> None:
        self._run = run
        self._store = store
        self._tracker = ProcessTracker()
        self.processes = PackedRecords(ProcessRecord, MOST_PROCESSES)
        self.events = PackedRecords(RunEvent, MOST_EVENTS)
        self._recent: deque[RunEvent] = deque(maxlen=_RECENT)
        self._trees: dict[str, None] = dict.fromkeys(run.trees)
        self._file = _maybe_file(store)
        self._retain_s = 0.0
        self.resumed = False  # whether an aggregator before this one has stored samples of this run
        self._restore()

    def announce(self, start: int, columns: Sequence[Column]) -> None:
        """Columns of the process collector."""
        self._tracker.announce(start, columns)

    def row(self, t: float, payload: bytes) -> None:
        """A row of the process collector."""
        self._tracker.row(t, payload)

    def reaped(self, pid: int, t: float, exit_status: int | None, signal: int | None) -> None:
        """A process was reaped by our supervisor."""
        self._tracker.reaped(pid, t, exit_status, signal)

    def command_ended(
        self, t: float, exit_status: int | None, signal: int | None, *, duration_s: float, cpu_seconds: float
    ) -> None:
        """COMMAND has ended, and with it the run."""
        run = self._run
        run.end, run.exit_status, run.signal = t, exit_status, signal
        run.duration, run.cpu_seconds = round(duration_s, 3), round(cpu_seconds, 6)
        self._write_run()

    def happened(self, event: RunEvent) -> None:
        """Keep an event; one that is told twice is kept once."""
        if event not in self._recent:
            self._recent.append(event)
            self.events.add(event)
            if self._file is not None:
                self._file.add(_EVENT + _pack(event))

    def tick(self, now_s: float) -> None:
        """Once a second: pack what has ended, drop what is older than the samples."""
        for record in self._tracker.take_ended(now_s):
            self.processes.add(record)
        for record in self._tracker.lives.values():
            self._trees.setdefault(record.tree)
        if self._file is None:
            self._tracker.forget_changed()
        if now_s >= self._retain_s:
            self._retain_s = now_s + _RETAIN_S
            self._retain()

    def flush(self, now_s: float) -> None:
        """Have another thread write what the disk does not have; without a path, do nothing."""
        if self._file is not None:
            for record in self._tracker.take_changed(now_s):
                self._file.add(_PROCESS + _pack(record))
            self._file.flush(self._everything)

    def close(self, now_s: float) -> None:
        """The run is over: no process lives any more."""
        end = self._run.end = self._run.end or now_s
        self._tracker.end_all(end)
        self.tick(now_s)
        self._write_run()
        self.flush(now_s)

    def shot(self) -> HistoryShot:
        """As of now."""
        records = [*self._tracker.ending(), *self._tracker.lives.values()]
        return HistoryShot(
            msgspec.structs.replace(self._run, trees=list(self._trees)),
            [msgspec.structs.replace(record, comm=[*record.comm]) for record in records],
            self.processes.packed(),
            self.events.packed(),
        )

    def _restore(self) -> None:
        """Take what an aggregator before this one has stored, of this run or of an earlier one."""
        processes, events = parse_history(self._store.history)
        self._store.history = []
        newest_ms, same = self._store.newest_ms(), maybe_run_info(self._store.run)
        if same is None or same.start != self._run.start:
            same = None
            self._store.end_restored()
        if same is not None and same.exit_status is same.signal is None:
            self._go_on(same, processes)
        for record in processes:
            if record.first >= self._run.start:
                self._trees.setdefault(record.tree)
                if record.end is None:
                    self._tracker.restore(record)
                    continue
            if record.end is None:
                end_at(record, newest_ms)
            self.processes.add(record)
        for event in events:
            self._recent.append(event)
            self.events.add(event)
        if same is not None:
            self._run = same
            self.resumed = True
        self._write_run()

    def _go_on(self, run: RunInfo, processes: Iterable[ProcessRecord]) -> None:
        """The aggregator alone had ended: what its end ended has not."""
        for record in processes:
            if run.end is not None and record.end == run.end:
                record.end = None
        run.end = None

    def _retain(self) -> None:
        oldest_ms = self._store.oldest_ms()
        if oldest_ms is None:
            return
        while (record := self.processes.oldest()) is not None and record.last * 1000 < oldest_ms:
            self.processes.forget_oldest()
        while (event := self.events.oldest()) is not None and event.t * 1000 < oldest_ms:
            self.events.forget_oldest()

    def _everything(self) -> Iterable[bytes]:
        yield from (_PROCESS + packed for packed in self.processes.packed())
        for record in (*self._tracker.ending(), *self._tracker.lives.values()):
            yield _PROCESS + _pack(record)
        yield from (_EVENT + packed for packed in self.events.packed())

    def _write_run(self) -> None:
        if self._file is not None:
            run = msgspec.structs.replace(self._run, trees=list(self._trees))
            self._file.write_run(msgspec.json.format(msgspec.json.encode(run)) + b"\n")


class StoredHistory:
    """The history in a store that was opened for reading."""

    def __init__(self, store: Store) -> None:
        oldest_ms, newest_ms = store.oldest_ms(), store.newest_ms()
        run = maybe_run_info(store.run) or RunInfo(start=(oldest_ms or 0) / 1000)
        if run.end is None:
            run.end = max(run.start, (newest_ms or 0) / 1000)
        processes, events = parse_history(store.history)
        for record in processes:
            if record.end is None:
                end_at(record, newest_ms)
        self._shot = HistoryShot(run, processes, (), [_pack(event) for event in events])

    def shot(self) -> HistoryShot:
        """What is stored."""
        return self._shot


def _maybe_file(store: Store) -> HistoryFile | None:
    if store.options.path is None:
        return None
    from prom_probe.history.history_file import HistoryFile

    return HistoryFile(store)


def parse_history(payloads: Iterable[bytes]) -> tuple[list[ProcessRecord], list[RunEvent]]:
    """The records of a file `history`; of several of one process, the last. What is no record is left out."""
    processes: dict[tuple[str, int, float], ProcessRecord] = {}
    events: list[RunEvent] = []
    for payload in payloads:
        try:
            if payload[:1] == _PROCESS:
                record = _process_of(payload[1:])
                processes[record.tree, record.pid, record.first] = record
            elif payload[:1] == _EVENT:
                events.append(_event_of(payload[1:]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return list(processes.values()), events


def end_at(record: ProcessRecord, newest_ms: int | None) -> None:
    """Nobody saw its end: the recording ended first, at its newest sample."""
    record.end = record.last = max(record.last, (newest_ms or 0) / 1000)


def _events_of(record: ProcessRecord) -> Iterable[RunEvent]:
    yield RunEvent(
        record.start, "process_start", record.tree, record.pid, record.first_cmdline or record.cmdline or record.comm[0]
    )
    if record.end is not None:
        yield RunEvent(record.end, "process_end", record.tree, record.pid, f"{record.comm[-1]} {record.how_it_ended}")


def _order(event: RunEvent) -> tuple[float, int]:
    return event.t, event.pid or 0
