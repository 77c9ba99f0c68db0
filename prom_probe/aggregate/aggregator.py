"""Drains the rings into the store, measures ourselves, and ends the series of silent collectors."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from prom_probe.aggregate import families as own
from prom_probe.aggregate.unreadable import UnreadableSources
from prom_probe.history.history import PROCESS_COLLECTOR, History
from prom_probe.model.family import Column
from prom_probe.model.meter import Cell, Histogram, Meter, RareCell
from prom_probe.model.run_event import RunEvent
from prom_probe.ring.codec import Announce, Batch, CodecError, Frame, Happened, Reaped, Stamped, decode
from prom_probe.ring.consumer import Consumer
from prom_probe.tsdb.store import AppendOutcome, LayoutError, Store

SELF_COLLECTOR = "prom_probe"
SUPERVISOR = "supervisor"

# A collector's series go stale after this many missed beats.
STALE_BEATS = 3

# How many batches of a collector may wait for its announcement; older ones are dropped and counted.
_MAX_HELD = 64

# How far ahead of the clock a page's own timestamp may be.
_MAX_AHEAD_MS = 600_000

DELAY_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
LATENCY_BOUNDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


class CollectorState:
    """What the aggregator knows about one collector."""

    __slots__ = ("alive", "duration", "fault", "held", "last_ms", "last_s", "overruns", "runs", "success")

    def __init__(self, name: str, meter: Meter) -> None:
        self.runs = meter.cell(own.COLLECTOR_RUNS.family, collector=name)
        self.success = meter.cell(own.COLLECTOR_SUCCESS.family, collector=name)
        self.duration = meter.cell(own.COLLECTOR_DURATION.family, collector=name)
        self.overruns = meter.rare(own.COLLECTOR_OVERRUNS.family, collector=name)
        for cell in self._cells():
            cell.set(0)  # it may return after it was forgotten
        self.held: deque[Batch] = deque()
        self.last_s = 0.0
        self.last_ms = 0
        self.alive = False
        self.fault = ""

    def _cells(self) -> tuple[Cell | RareCell, ...]:
        return self.runs, self.success, self.duration, self.overruns

    def forget(self) -> None:
        """End its metrics."""
        for cell in self._cells():
            cell.end()


class Aggregator:
    """The only writer of the store. All methods belong to the thread of the aggregator's loop.

    `rings` are by probe, `intervals` (seconds between two collections) by collector. `supervisor`: the ring in which
    the supervisor says whom it reaped and which worker it restarts.
    """

    def __init__(
        self,
        store: Store,
        rings: Mapping[str, Consumer],
        meter: Meter,
        *,
        intervals: Mapping[str, float],
        build_info: Mapping[str, str],
        started_s: float,
        log: Callable[[str, str], None],
        history: History,
        supervisor: Consumer | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now_s = now_s
        self._history = history
        self._store = store
        self.rings: dict[str, Consumer] = {}
        self._meter = meter
        self._damaged = meter.rare(own.TSDB_DAMAGED.family) if store.options.path is not None else None
        self._intervals = intervals
        self._started_s = started_s
        self._log = log
        self._collectors: dict[str, CollectorState] = {}
        self._stored_ms = {row.collector: row.t_ms for row in store.newest()} if history.resumed else {}
        self._announced = 0
        self._unreadable = UnreadableSources()
        self._undecodable: dict[str, int] = {}
        self._delays: dict[str, Histogram] = {}
        self._latency = meter.histogram(own.INGEST_LATENCY.family, LATENCY_BOUNDS)
        meter.cell(own.BUILD_INFO.family, **build_info).set(1)
        for name, ring in rings.items():
            self.add_ring(name, ring)
        if supervisor is not None:
            self._take_ring(SUPERVISOR, supervisor)

    def add_ring(self, name: str, ring: Consumer) -> None:
        """Drain the ring of one more probe."""
        self._take_ring(name, ring)
        delay = own.BEAT_DELAY.family
        self._delays[name] = self._meter.histogram(delay, DELAY_BOUNDS, worker=name)

    def _take_ring(self, name: str, ring: Consumer) -> None:
        self.rings[name] = ring
        self._undecodable[name] = 0

    def change_intervals(self, intervals: Mapping[str, float]) -> None:
        """From now on expect these intervals. A collector that is not among them is forgotten when it falls silent."""
        self._intervals = intervals

    @property
    def collecting(self) -> bool:
        """Whether any collector's samples arrive."""
        return any(state.alive for state in self._collectors.values())

    def fault_of(self, collector: str) -> str:
        """Why the collector's last failure came about; "" where none is known."""
        state = self._collectors.get(collector)
        return "" if state is None else state.fault

    def drain(self) -> None:
        """Store all that waits in the rings. Frames that cannot be decoded are counted and skipped."""
        for name, ring in self.rings.items():
            for _, payload in ring.pop():
                try:
                    frame = decode(payload)
                    self._take(frame)
                    if isinstance(frame, Batch) and frame.late_ns >= 0:
                        self._delays[name].observe(frame.late_ns / 1e9)
                except (CodecError, LayoutError) as error:
                    self._undecodable[name] += 1
                    self._log("warn", f"ring {name}: {error}")
            ring.commit()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Happened):
            self._history.happened(frame.event)
            return
        if isinstance(frame, Reaped):
            self._history.reaped(frame.pid, frame.t, frame.exit_status, frame.signal)
            if frame.command:
                self._history.command_ended(
                    frame.t,
                    frame.exit_status,
                    frame.signal,
                    duration_s=frame.duration_s,
                    cpu_seconds=frame.cpu_seconds,
                )
            return
        if isinstance(frame, Stamped):
            self._append_stamped(frame)
            return
        state = self._state(frame.collector)
        if isinstance(frame, Batch):
            self._append(state, frame)
        elif isinstance(frame, Announce):
            self._announce(state, frame)
        elif frame.kind == "overran":
            state.overruns.add(frame.count)
        elif frame.kind == "failed":
            state.success.set(0)
            state.fault = frame.text
        elif frame.kind == "down":
            state.fault = frame.text

    def _state(self, collector: str) -> CollectorState:
        state = self._collectors.get(collector)
        if state is None:
            state = self._collectors[collector] = CollectorState(collector, self._meter)
            state.last_ms = self._stored_ms.get(collector, 0)
        return state

    def _append(self, state: CollectorState, batch: Batch) -> None:
        if state.held:  # it must not overtake those
            self._hold(state, batch)
            return
        outcome = self._store.append_row(batch.collector, batch.layout, batch.t_ms, batch.values)
        if outcome is AppendOutcome.UNKNOWN_LAYOUT:
            self._hold(state, batch)
            return
        if outcome is AppendOutcome.APPENDED:
            if batch.collector == PROCESS_COLLECTOR:
                self._history.row(batch.t_ms / 1000, batch.values)
            self._note_gap(state, batch)
        self._latency.observe((time.monotonic_ns() - batch.done_ns) / 1e9)
        state.runs.add()
        state.success.set(1)
        state.duration.set(batch.took_ns / 1e9)
        state.last_s = self._now_s()
        state.alive = True

    def _append_stamped(self, frame: Stamped) -> None:
        """Append samples one by one; those too far in the future are refused, as Prometheus does."""
        most_ms = time.time_ns() // 1_000_000 + _MAX_AHEAD_MS
        for labels, t_ms, value in frame.samples:
            if t_ms > most_ms:
                self._store.reject("too_far_ahead", 1)
            else:
                self._store.append(labels, t_ms, value)

    def _note_gap(self, state: CollectorState, batch: Batch) -> None:
        """A gap begins at the last row before it."""
        last_ms, state.last_ms = state.last_ms, batch.t_ms
        missing_s = (batch.t_ms - last_ms) / 1000
        if last_ms and missing_s > STALE_BEATS * self._intervals.get(batch.collector, 1.0):
            text = f"{batch.collector}: no samples for {missing_s:.1f} s"
            self._history.happened(RunEvent(last_ms / 1000, "gap", text=text))

    def _hold(self, state: CollectorState, batch: Batch) -> None:
        state.held.append(batch)
        if len(state.held) > _MAX_HELD:
            self._store.reject("unannounced", len(state.held.popleft().values) // 8)

    def _announce(self, state: CollectorState, frame: Announce) -> None:
        if frame.start and not self._store.knows(frame.collector, frame.layout):
            return  # an addition, sent before this process started; the whole layout will follow
        columns = [self._as_shown(column) for column in frame.full_columns()]
        self._store.announce(frame.collector, frame.layout, frame.start, columns)
        if frame.collector == PROCESS_COLLECTOR:
            self._history.announce(frame.start, columns)
        held, state.held = state.held, deque()
        for batch in held:
            if batch.layout < frame.layout:
                self._store.reject("unannounced", len(batch.values) // 8)
            else:
                self._append(state, batch)

    def _as_shown(self, column: Column) -> Column:
        """The column, local where it is a detail about ourselves that is not asked for."""
        if not column.family.detail or self._meter.shows_detail:
            return column
        return msgspec.structs.replace(column, exposed=False)

    def tick(self) -> None:
        """Once a second: end the series of silent collectors, append our own metrics."""
        now_ms = time.time_ns() // 1_000_000
        now_s = self._now_s()
        for name, state in list(self._collectors.items()):
            if state.alive and now_s - state.last_s > STALE_BEATS * self._intervals.get(name, 1.0):
                state.alive = False
                state.success.set(0)
                self._store.mark_stale(name, now_ms)
            if not state.alive and name not in self._intervals:
                state.forget()
                del self._collectors[name]
        self._history.tick(now_ms / 1000)
        self._measure(now_s)
        layout = self._meter.layout
        if len(layout.columns) > self._announced:
            self._store.announce(SELF_COLLECTOR, layout.number, self._announced, layout.columns[self._announced :])
            self._announced = len(layout.columns)
        self._store.append_row(SELF_COLLECTOR, layout.number, now_ms, layout.row.tobytes())

    def tidy(self) -> bool:
        """One slice of the store's maintenance, about 2 ms. Returns whether more is left."""
        return self._store.maintain(time.time_ns() // 1_000_000)

    def _measure(self, now_s: float) -> None:
        cell = self._meter.cell
        cell(own.UPTIME.family).set(now_s - self._started_s)
        cell(own.UNREADABLE.family).set(self._unreadable.count(self._store.newest()))
        for name, ring in self.rings.items():
            cell(own.RING_FRAMES.family, ring=name).set(ring.pushed)
            cell(own.RING_DROPPED_FRAMES.family, ring=name).set(ring.dropped)
            corrupt = ring.corrupt + self._undecodable[name]
            cell(own.RING_CORRUPT_FRAMES.family, ring=name).set(corrupt)
            cell(own.RING_USED.family, ring=name).set(ring.used)
        for kind, records in (("process", self._history.processes), ("event", self._history.events)):
            cell(own.HISTORY_RECORDS.family, kind=kind).set(len(records))
            cell(own.HISTORY_DROPPED.family, kind=kind).set(records.dropped)
        stats = self._store.stats()
        cell(own.TSDB_SERIES.family).set(stats.series)
        cell(own.TSDB_SAMPLES.family).set(stats.samples)
        cell(own.TSDB_STORAGE.family).set(stats.bytes)
        cell(own.TSDB_APPENDED_SAMPLES.family).set(stats.appended)
        cell(own.TSDB_DROPPED_SAMPLES.family).set(stats.dropped)
        cell(own.TSDB_SEALED_BLOCKS.family).set(stats.sealed)
        cell(own.TSDB_MERGED_BLOCKS.family).set(stats.merged)
        if self._damaged is not None:
            cell(own.TSDB_PERSISTENT.family).set(stats.persistent)
            cell(own.TSDB_DISK_ERRORS.family).set(stats.disk_errors)
            self._damaged.set(stats.damaged)
            cell(own.TSDB_WAL.family).set(stats.wal_bytes)
            cell(own.TSDB_BLOCK_FILES.family).set(stats.block_file_bytes)
            cell(own.TSDB_MAPPED.family).set(stats.mapped_bytes)
        for reason, count in stats.rejected.items():
            cell(own.TSDB_REJECTED_SAMPLES.family, reason=reason).set(count)
