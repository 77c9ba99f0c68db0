"""The store: one writer appends and maintains it, readers take snapshots."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import Labels
from prom_probe.model.series import Newest
from prom_probe.tsdb.appended import AppendedStream
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.cache import Cache
from prom_probe.tsdb.collector_stream import CollectorStream, proper
from prom_probe.tsdb.encoding.record import BlockError
from prom_probe.tsdb.index import TAIL_COST, Index, IndexedSeries, Scope, SeriesOwner
from prom_probe.tsdb.outcome import MAX_TIME, AppendOutcome, LayoutError, StorageError
from prom_probe.tsdb.retention import EndedSeries, LivedTime, drop_excess, drop_expired, drop_live
from prom_probe.tsdb.seal import merge
from prom_probe.tsdb.snapshot import Snapshot
from prom_probe.tsdb.stream import Head, SampleStream
from prom_probe.tsdb.stream_view import StreamView

if TYPE_CHECKING:
    from prom_probe.tsdb.disk.journal import Journal
    from prom_probe.tsdb.disk.record_file import SideFileJob
    from prom_probe.tsdb.disk.recovery import RecoveredStore

__all__ = ["AppendOutcome", "LayoutError", "Snapshot", "StorageError", "Store", "StoreOptions", "StoreStats"]

# A piece of a stream takes at most one such part of the retention, so that little is dropped late, or at once.
_PARTS = 8

# The index is rebuilt, this many series at a time, once it has this many series that are gone, and one part of all.
_GONE_LEAST = 200
_GONE_PARTS = 8
_REINDEX_STEP = 200

# A series of appended samples starts over if its newest sample is further in the future than this.
_FUTURE_MS = 600_000


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What the store may keep, and its directory; None for memory alone.

    `max_series` bounds the local series; exposed ones always fit.
    """

    retention_ms: int = 6 * 3_600_000
    retention_bytes: int = 32 << 20
    max_series: int = 10_000
    decode_cache_bytes: int = 8 << 20
    path: str | None = None


# For read-only stores: nothing is dropped.
_EVERYTHING = StoreOptions(retention_ms=1 << 62, retention_bytes=1 << 62, max_series=1 << 62)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What is in the store (`series`, `samples`, `bytes`, `pieces`), and what has happened since it was opened.

    `bytes` is what retention counts: pieces, index and columns, but not the decode cache. `appended` counts samples,
    `rejected` refused ones by reason, `dropped` those that retention dropped; `sealed` and `merged` count the blocks
    made of heads and of smaller blocks. With a path: `persistent` is whether new samples reach the disk, `disk_errors`
    counts failed writes, `damaged` the files and records that could not be read on opening; `mapped_bytes` is the part
    of `bytes` in mapped files, `wal_bytes` and `block_file_bytes` are the sizes of the files.
    """

    series: int
    samples: int
    bytes: int
    pieces: int
    appended: int
    rejected: dict[str, int]
    dropped: int
    sealed: int
    merged: int
    persistent: bool = False
    disk_errors: int = 0
    damaged: int = 0
    mapped_bytes: int = 0
    wal_bytes: int = 0
    block_file_bytes: int = 0


class Store:
    """The time-series database. All methods are for one thread, the writer's, except `snapshot` and its result."""

    def __init__(
        self,
        options: StoreOptions | None = None,
        *,
        report: Callable[[str, str], None] = lambda level, text: None,
        disk_required: bool = True,
    ) -> None:
        """`report` takes (level, text) about the disk.

        Raises StorageError if `path` cannot be used; unless `disk_required`, it is reported, and memory alone is used.
        """
        self.options = options or StoreOptions()
        self._lived = LivedTime()
        self._cache = Cache(self.options.decode_cache_bytes)
        self._index = Index()
        self._by_labels: dict[Labels, IndexedSeries] = {}
        self._next_ref = 1
        self._epoch = 0  # of the index; grows when series leave it
        self._ended = EndedSeries()
        self._appended_stream = AppendedStream()
        self._collectors: dict[str, CollectorStream] = {}
        self._streams: tuple[SampleStream[Any], ...] = (self._appended_stream,)  # replaced as a whole
        self._cleanup: Iterator[None] | None = None
        self._compression: Iterator[None] | None = None
        self._sweep_due = False
        self._appended = 0
        self._changes = (
            0  # of what a snapshot shows; counted after each change, since snapshots are made in other threads
        )
        self._shot: tuple[int, Snapshot] | None = None  # (changes, the snapshot made then); forgotten by `maintain`
        self._rejected: Counter[str] = Counter()
        self._sealed = self._merged = 0
        self._journal: Journal | None = None
        self._open_failed = False
        self._stored_until_ms: int | None = None  # of a store that is only read: the newest sample
        self.history: list[bytes] = []  # the records that were found beside the samples, and `run.json`
        self.run = b""
        if self.options.path is not None:
            try:
                self._open(self.options.path, report)
            except StorageError as error:
                if disk_required:
                    raise
                self._open_failed = True
                report("error", f"storage: {error}; going on in memory alone, without what was stored")

    def _open(self, path: str, report: Callable[[str, str], None]) -> None:
        """Restore what is stored in `path`, and go on there."""
        from prom_probe.tsdb.disk.opening import open_to_write

        found, make_journal = open_to_write(path, self.options.max_series, report)
        self._restore(found)
        self.history, self.run = found.history, found.run
        self._journal = self._appended_stream.journal = make_journal(lambda: self._index.all)
        for stream in self._streams:
            stream.journal = self._journal

    @classmethod
    def open_read_only(cls, path: str, *, report: Callable[[str, str], None] = lambda level, text: None) -> Store:
        """The store in `path`, for reading: it writes nothing there and drops nothing.

        Raises StorageError if there is no store, or while a process writes to it.
        """
        from prom_probe.tsdb.disk.opening import read

        store = cls(_EVERYTHING)
        found = read(path, report)
        store._restore(found)
        store.history, store.run = found.history, found.run
        store._stored_until_ms = store.newest_ms()
        store.end_restored()
        for collector, mapping in found.mappings.items():
            if collector in store._collectors:
                store._collectors[collector].mapping = mapping
        return store

    def change(self, options: StoreOptions) -> None:
        """Continue with other limits; the path stays the same."""
        self.options = replace(options, path=self.options.path)
        self._cache.resize(options.decode_cache_bytes)

    def announce(self, collector: str, layout: int, start: int, columns: Sequence[Column]) -> None:
        """Columns [start, start + len(columns)) of a collector's layout; it grows by columns from the number known on.

        A new layout number replaces the old layout: series that it lacks end there, the others continue. Columns that
        are already known change nothing. Where they differ under the same number (a restarted worker), a new layout
        begins with the columns before them. Raises LayoutError on a gap and on bad labels.
        """
        stream = self._collectors.get(collector)
        if stream is None:
            stream = CollectorStream(collector)
            stream.announce(layout, start, columns, self._admitter(stream), self._lived.ms)
            self._adopt(stream)
        else:
            stream.announce(layout, start, columns, self._admitter(stream), self._lived.ms)
        self._changes += 1

    def knows(self, collector: str, layout: int) -> bool:
        """Whether this is the collector's current layout."""
        stream = self._collectors.get(collector)
        return stream is not None and stream.mapping is not None and stream.mapping.layout == layout

    def append_row(self, collector: str, layout: int, t_ms: int, payload: bytes) -> AppendOutcome:
        """Append the row that a collector filled at `t_ms`; the cost does not depend on the number of series.

        `payload`: packed little-endian float64, one per column from the first on; absent are columns with the staleness
        marker and those beyond its end. A second row at the newest timestamp and an exact repetition of a row in the
        head are DUPLICATE. An older row means that the clock was set back: it is taken, and from its timestamp on it
        and the following rows take precedence over what was written before.
        """
        stream = self._collectors.get(collector)
        if stream is None:
            outcome, samples = AppendOutcome.UNKNOWN_LAYOUT, len(payload) // 8
        else:
            outcome, samples = stream.append(layout, t_ms, payload, self._lived.ms)
            self._changes += 1
        if outcome is not AppendOutcome.APPENDED:
            self._rejected[outcome.value] += max(samples, 1)
        else:
            refused = min(stream.refused, samples) if stream is not None else 0
            if refused:
                self._rejected[AppendOutcome.SERIES_LIMIT.value] += refused
            self._appended += samples - refused
        return outcome

    def mark_stale(self, collector: str, t_ms: int) -> None:
        """End all series of a collector at `t_ms`, because its probe died or stopped reporting."""
        stream = self._collectors.get(collector)
        if stream is not None:
            stream.mark_stale(t_ms, self._lived.ms)
            self._changes += 1

    def end_restored(self) -> None:
        """End the collectors' series that were found on opening a millisecond after the newest sample of all.

        Their run is over, and may not have been able to say so. What was appended one by one ends as its sender says.
        """
        newest_ms = self.newest_ms()
        if newest_ms is None:
            return
        for stream in self._collectors.values():
            stream.end_restored(newest_ms + 1, self._lived.ms)
        self._changes += 1

    def append(self, labels: Labels, t_ms: int, value: float) -> AppendOutcome:
        """Append one sample of any series. `labels` are sorted by name, without empty values."""
        outcome = self._append(labels, t_ms, value)
        self._changes += 1
        if outcome is AppendOutcome.APPENDED:
            self._appended += 1
        else:
            self._rejected[outcome.value] += 1
        return outcome

    def _append(self, labels: Labels, t_ms: int, value: float) -> AppendOutcome:
        series = self._by_labels.get(labels)
        now_ms = self._lived.now_ms
        if not -MAX_TIME < t_ms < MAX_TIME:
            return AppendOutcome.MALFORMED
        if now_ms is not None and t_ms < now_ms - self.options.retention_ms:
            return AppendOutcome.TOO_OLD
        if series is None:
            if not proper(labels):
                return AppendOutcome.MALFORMED
            if not self._make_room(1):
                return AppendOutcome.SERIES_LIMIT
            series = self._create(labels)
        if series.tail is None and self._appended_stream in series.owners:
            series.tail = self._appended_stream.find_tail(series.ref)
        series.belong_to(self._appended_stream)
        ahead_ms = None if now_ms is None else now_ms + _FUTURE_MS
        tailless = series.tail is None
        outcome = self._appended_stream.append(series, t_ms, value, lived_ms=self._lived.ms, ahead_ms=ahead_ms)
        if tailless and series.tail is not None:
            self._index.bytes += TAIL_COST
        return outcome

    def reject(self, reason: str, samples: int) -> None:
        """Count samples that were refused before they reached the store."""
        self._rejected[reason] += samples

    def maintain(self, now_ms: int, budget_s: float = 0.002) -> bool:
        """One slice of the background work: retention, sealing, merging. Call it about once a second.

        `now_ms` is the wall clock. Returns True if work is left, for a caller that has time for another slice.
        """
        self._shot = None  # it would keep alive what is dropped
        self._lived.tick(now_ms)
        lived_ms = self._lived.ms
        self._close_due()
        for collector in self._collectors.values():
            collector.maybe_readmit(self._admitter(collector), lived_ms)
        self._drop(lived_ms)
        return self._work(perf_counter() + budget_s)

    def settle(self, budget_s: float = 0.002) -> bool:
        """One slice of sealing and merging alone, for a writer that outruns `maintain`; True if work is left."""
        self._shot = None
        self._close_due()
        return self._work(perf_counter() + budget_s)

    def _close_due(self) -> None:
        for stream in self._streams:
            stream.close_due(self._lived.ms - self.options.retention_ms // _PARTS)

    def flush(self) -> None:
        """Have another thread write what was appended to the disk; without a path, do nothing.

        It is on the disk once that write is done, within milliseconds on most disks.
        """
        if self._journal is not None:
            self._journal.flush()

    def close(self) -> None:
        """Write what was appended, and release the directory; later appends stay in memory alone."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            for stream in self._streams:
                stream.journal = None

    def keep_beside(self, name: str, data: bytes, *, append: bool = False) -> SideFileJob | None:
        """Write a file beside the samples, or append to it, in another thread; None without a path."""
        return self._journal.keep_beside(name, data, append=append) if self._journal is not None else None

    def oldest_ms(self) -> int | None:
        """The oldest timestamp; None if nothing is stored."""
        pieces = (piece for stream in self._streams for piece in stream.pieces if piece.samples)
        return min((piece.view().mint for piece in pieces), default=None)

    def collector_streams(self) -> Collection[CollectorStream]:
        """The collectors' streams, for a reader in the writer's own thread."""
        return self._collectors.values()

    def find_series(self, ref: int) -> IndexedSeries | None:
        """The series with this ref; None if it has left the index."""
        series = self._index.all
        place = bisect_left(series, ref, key=attrgetter("ref"))
        return series[place] if place < len(series) and series[place].ref == ref else None

    def find_labels(self, labels: Labels) -> IndexedSeries | None:
        """The series with these labels, if it is in the index."""
        return self._by_labels.get(labels)

    def newest_ms(self) -> int | None:
        """The newest sample's timestamp; None if nothing is stored."""
        if self._stored_until_ms is not None:
            return self._stored_until_ms
        return max((piece.view().maxt for stream in self._streams for piece in stream.pieces), default=None)

    def newest(self) -> list[Newest]:
        """The newest row of each collector."""
        return [newest for stream in self._collectors.values() if (newest := stream.newest()) is not None]

    def families(self) -> Iterable[Family]:
        """The families of all collectors' layouts, without duplicates."""
        found: dict[Family, None] = {}
        for stream in self._collectors.values():
            if stream.mapping is not None:
                found.update(dict.fromkeys(stream.mapping.families))
        return found

    def snapshot(self) -> Snapshot:
        """The store as it is now. Cheap; it may be called, and its result used, by any thread.

        Until something is appended it is the same snapshot, which remembers what was selected.
        """
        shot, changes = self._shot, self._changes
        if shot is not None and shot[0] == changes:
            return shot[1]
        scope = Scope(self._index, self._next_ref, self._epoch)
        views: dict[SeriesOwner, StreamView] = {stream: stream.view() for stream in self._streams}
        snapshot = Snapshot(scope, views, self._cache)
        self._shot = changes, snapshot
        return snapshot

    def blocks(self) -> list[Block]:
        """The sealed blocks."""
        return [piece for stream in self._streams for piece in stream.pieces if isinstance(piece, Block)]

    def stats(self) -> StoreStats:
        """Counts of what is stored and of what happened."""
        pieces = [piece for stream in self._streams for piece in stream.pieces]
        disk = self._journal.stats() if self._journal is not None else None
        return StoreStats(
            series=len(self._by_labels),
            samples=sum(piece.samples for piece in pieces),
            bytes=self._bytes(),
            pieces=len(pieces),
            appended=self._appended,
            rejected=dict(self._rejected),
            dropped=sum(stream.dropped for stream in self._streams),
            sealed=self._sealed,
            merged=self._merged,
            **(disk._asdict() if disk is not None else {"disk_errors": int(self._open_failed)}),
        )

    def chunks(self) -> int:
        """How many runs of one series' samples there are: each series counts once in each piece."""
        return sum(len(list(piece.live_refs())) for stream in self._streams for piece in stream.pieces)

    def _bytes(self) -> int:
        return self._index.bytes + sum(stream.cost() for stream in self._streams)

    def _drop(self, lived_ms: int) -> None:
        dropped = drop_expired(self._streams, lived_ms - self.options.retention_ms)
        dropped |= drop_excess(self._streams, self._bytes() - self.options.retention_bytes)
        self._sweep_due |= dropped

    def _work(self, until_s: float) -> bool:
        """Work on the current jobs and the next ones until `until_s` (perf_counter seconds); True if any is left."""
        while True:
            job = self._cleanup = self._cleanup or self._next_cleanup()
            if job is None:
                job = self._compression = self._compression or self._next_compression()
            if job is None:
                return False
            for _ in job:
                if perf_counter() >= until_s:
                    return True
            if job is self._cleanup:
                self._cleanup = None
            else:
                self._compression = None

    def _next_cleanup(self) -> Iterator[None] | None:
        """The next job that frees memory; these come first."""
        if self._sweep_due:
            self._sweep_due = False
            return self._sweep()
        if len(self._index.all) - len(self._by_labels) > max(_GONE_LEAST, len(self._by_labels) // _GONE_PARTS):
            return self._reindex()
        return None

    def _next_compression(self) -> Iterator[None] | None:
        """The next job that compresses samples."""
        for stream in self._streams:
            head = stream.closed_head()
            if head is not None:
                return self._seal(stream, head)
        for stream in self._streams:
            options = self.options
            blocks = stream.mergeable(options.retention_bytes // _PARTS, options.retention_ms // _PARTS)
            if blocks:
                return self._merge(stream, blocks)
        return None

    def _seal(self, stream: SampleStream[Any], head: Head) -> Iterator[None]:
        """Replace a closed head by a block."""
        block = yield from head.seal(self._known())
        if block is not None and stream.replace((head,), block):
            self._sealed += 1

    def _merge(self, stream: SampleStream[Any], blocks: tuple[Block, ...]) -> Iterator[None]:
        """Replace several blocks by one."""
        try:
            block = yield from merge(blocks, self._known(), shared=stream.shared)
        except BlockError:  # a damaged block file
            block = None
        if block is None:
            stream.keep_apart(blocks)
        elif stream.replace(blocks, block):
            self._merged += 1
            self._cache.forget({old.uid for old in blocks})

    def _sweep(self) -> Iterator[None]:
        """Remove the series that have neither samples nor a column from the index."""
        ended = self._known()
        yield from drop_live(ended, self._streams)
        self._forget([series for series in self._by_labels.values() if series.ref in ended])
        self._ended.clear()

    def _reindex(self) -> Iterator[None]:
        """Rebuild the index without the series that are gone."""
        index = Index()
        old = self._index.all
        done = 0
        while done < len(old):
            for series in old[done : done + _REINDEX_STEP]:
                if not series.gone:
                    index.add(series)
            done += _REINDEX_STEP
            yield
        self._index = index
        self._by_labels = self._by_labels.copy()  # a copy of a dict with many free slots is smaller

    def _known(self) -> set[int]:
        """The refs of the series in the index; others in a piece cannot be found any more."""
        return {series.ref for series in self._by_labels.values()}

    def _admitter(self, stream: CollectorStream) -> Callable[[Sequence[Column]], list[IndexedSeries | None]]:
        return lambda columns: self._admit(stream, columns)

    def _admit(self, stream: CollectorStream, columns: Sequence[Column]) -> list[IndexedSeries | None]:
        """The columns' series, created if need be; None if the series cap refuses one. LayoutError for bad labels."""
        known = [self._by_labels.get(column.labels) for column in columns]
        fresh = [column for column, series in zip(columns, known, strict=True) if series is None]
        for column in fresh:
            if not proper(column.labels):
                text = "labels that are unsorted, repeated, empty or not text"
                raise LayoutError(f"{stream.collector}: {text}: {column.labels!r}")
        needed = {column.labels for column in fresh if not column.exposed}
        room = self._make_room(len(needed), {series for series in known if series}) if needed else 0
        lived_ms = self._lived.ms
        for place, column in enumerate(columns):
            series = known[place] or self._by_labels.get(column.labels)
            if series is None and (column.exposed or room > 0):
                room -= not column.exposed
                series = self._create(column.labels)
            if series is not None:
                series.kept |= column.exposed
                series.lasting |= column.lasting
                series.seen = lived_ms
                series.belong_to(stream)
                known[place] = series
        return known

    def _make_room(self, needed: int, keep: Collection[IndexedSeries] = ()) -> int:
        """How many of `needed` local series may be created; evicts some that have ended, but none in `keep`."""
        room = self.options.max_series - len(self._by_labels)
        if room < needed:
            gone = self._ended.take(
                needed - room, keep, self._index.all, self._streams, self._lived.ms, self.options.max_series
            )
            self._forget(gone)
            room += len(gone)
        return max(0, min(room, needed))

    def _adopt(self, stream: CollectorStream) -> None:
        stream.journal = self._journal
        self._collectors[stream.collector] = stream
        self._streams = (*self._streams, stream)

    def _restore(self, found: RecoveredStore) -> None:
        """Start with what was found on the disk."""
        self._lived.ms = found.lived_ms
        self._next_ref = found.next_ref
        known = {}
        for series in found.series:
            series.labels = self._index.intern(series.labels)
            self._index.add(series)
            self._by_labels[series.labels] = known[series.ref] = series
        for name, pieces in found.streams().items():
            if name is None:
                self._appended_stream.pieces = tuple(
                    piece for piece in pieces if piece.samples
                )  # empty heads cannot be sealed
            else:
                stream = CollectorStream(name)
                stream.restore(pieces)
                self._adopt(stream)
        for name, piece in found.in_order():
            owner = self._appended_stream if name is None else self._collectors[name]
            for ref in piece.live_refs():
                if ref in known:
                    known[ref].belong_to(owner)

    def _create(self, labels: Labels) -> IndexedSeries:
        series = IndexedSeries(self._index.intern(labels), self._next_ref, self._lived.ms)
        self._index.add(series)
        self._by_labels[series.labels] = series
        self._next_ref += 1
        return series

    def _forget(self, gone: Collection[IndexedSeries]) -> None:
        for series in gone:
            series.until = self._epoch
            del self._by_labels[series.labels]
        self._epoch += 1
