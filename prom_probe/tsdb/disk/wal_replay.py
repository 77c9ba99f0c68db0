"""Replaying the WAL: from its records back to heads and their series."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE_BYTES
from prom_probe.tsdb.appended import AppendedHead
from prom_probe.tsdb.collector_stream import proper
from prom_probe.tsdb.column_map import ColumnMap
from prom_probe.tsdb.disk import wal
from prom_probe.tsdb.disk.blockfile import MAX_NUMBER, HeadRange
from prom_probe.tsdb.encoding.record import MAX_ROWS
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.outcome import MAX_TIME
from prom_probe.tsdb.row_head import RowHead

if TYPE_CHECKING:
    AnyHead: TypeAlias = RowHead | AppendedHead


class ReplayedHead:
    """A head found in the log; `held`: a block file has its samples, so they are skipped.

    `piece` is created by the first row. Rows of a checkpoint go to `again`, which replaces `piece` once it is complete.
    """

    __slots__ = ("again", "awaited", "heads", "held", "piece", "segment")

    def __init__(self, heads: HeadRange, held: bool) -> None:
        self.heads = heads
        self.held = held
        self.piece: AnyHead | None = None
        self.again: AnyHead | None = None
        self.awaited = 0  # rows or samples of a checkpoint that are still to come
        self.segment = 0

    def writing(self, lived_ms: int, segment: int) -> AnyHead:
        """The piece that the next row belongs to."""
        make = AppendedHead if self.heads.stream is None else RowHead
        if self.piece is None and self.again is None:
            self.segment = segment
        if self.awaited:
            self.again = self.again or make(lived_ms)
            return self.again
        self.piece = self.piece or make(lived_ms)
        return self.piece

    def wrote(self, count: int, segment: int) -> None:
        """Note that `count` rows or samples were read."""
        if self.awaited:
            self.awaited = max(0, self.awaited - count)
            if not self.awaited:
                self.piece, self.segment, self.again = self.again, segment, None

    def best(self) -> AnyHead | None:
        """The most complete piece, in case damage has cut a checkpoint short."""
        pieces = [piece for piece in (self.piece, self.again) if piece is not None]
        return max(pieces, key=lambda piece: piece.samples, default=None)


class UnknownReferenceError(ValueError):
    """A record that refers to an introduction which was not read; it may be offered again after one."""


class WalReplay:
    """Takes payloads in the order in which they were written, and raises ValueError for an invalid one.

    `held(stream, number)`: whether a block file has that head. The log's series are added to `series`, by ref.
    `segment` is the one that is being read.
    """

    def __init__(self, series: dict[int, IndexedSeries], held: Callable[[str | None, int], bool]) -> None:
        self.segment = 0
        self.heads: dict[int, ReplayedHead] = {}
        self.dropped: dict[str | None, int] = {}
        self.newest: dict[str, ColumnMap] = {}  # by collector: the column map of its newest row
        self.highest = 0  # number so far
        self._series = series
        self._held = held
        self._mappings: dict[int, ColumnMap] = {}

    def take(self, payload: bytes) -> None:
        kind = payload[0]
        if kind == wal.ROW:
            self._row(payload)
        elif kind == wal.SAMPLES:
            self._samples(payload)
        elif kind in wal.KINDS:
            self._introduce(wal.decode(payload))
        else:
            raise ValueError(f"unknown kind of record {kind}")

    def _introduce(self, said: wal.Introduction) -> None:
        if isinstance(said, wal.HeadRecord):
            self._count(said.number)
            if said.number not in self.heads:
                heads = HeadRange(said.stream, said.number, said.number)
                self.heads[said.number] = ReplayedHead(heads, self._held(said.stream, said.number))
            if said.again > 0:
                self.heads[said.number].awaited = said.again
                self.heads[said.number].again = None
        elif isinstance(said, wal.SeriesRecord):
            self._know(said.ref, said.labels, kept=False)
        elif isinstance(said, wal.DroppedRecord):
            self._count(said.number)
            self.dropped[said.stream] = max(said.number, self.dropped.get(said.stream, 0))
        else:
            self._columns(said)

    def _columns(self, said: wal.ColumnsRecord) -> None:
        self._count(said.mapping)
        mapping = self._mappings.get(said.mapping) or ColumnMap(said.layout)
        known = len(mapping.columns)
        if not 0 <= said.start <= known:
            raise UnknownReferenceError(f"columns from {said.start} on, but {known} are known")
        fresh = range(known - said.start, len(said.columns))
        try:
            columns = [said.column(place) for place in fresh]
        except IndexError:
            raise ValueError("a column with an unknown family") from None
        refs = [said.columns[place].ref for place in fresh]
        series = [
            self._know(ref, column.labels, kept=column.exposed) if ref else None
            for ref, column in zip(refs, columns, strict=True)
        ]
        for column, one in zip(columns, series, strict=True):
            mapping.add(column, one)
        self._mappings[said.mapping] = mapping

    def _row(self, payload: bytes) -> None:
        if len(payload) < wal.ROW_START.size:
            raise ValueError("a row that is too short")
        _, number, mapping_number, t_ms, lived_ms = wal.ROW_START.unpack_from(payload)
        head, mapping = self._head(number), self._mappings.get(mapping_number)
        if mapping is None or head.heads.stream is None:
            raise UnknownReferenceError("a row without a column map")
        values = payload[wal.ROW_START.size :]
        if len(values) % 8 or len(values) > 8 * len(mapping.columns):
            raise UnknownReferenceError(f"a row of {len(values)} bytes for {len(mapping.columns)} columns")
        _check_times(t_ms, lived_ms)
        self.newest[head.heads.stream] = mapping
        if head.held:
            return
        run = head.writing(lived_ms, self.segment)
        assert isinstance(run, RowHead)
        if run.times and (t_ms <= run.times[-1] or len(run.times) >= MAX_ROWS):
            raise ValueError("a row out of order")
        samples = len(values) // 8 - values.count(STALE_BYTES)
        run.append(mapping, t_ms, values, samples, max(lived_ms, run.seen))
        head.wrote(1, self.segment)

    def _samples(self, payload: bytes) -> None:
        start = wal.SAMPLES_START.size
        if len(payload) < start or (len(payload) - start) % wal.SAMPLE.size:
            raise ValueError("samples that are cut off")
        _, number, lived_ms = wal.SAMPLES_START.unpack_from(payload)
        head = self._head(number)
        if head.heads.stream is not None:
            raise ValueError("appended samples for a collector's head")
        if head.held:
            return
        samples = []
        for ref, t_ms, value in wal.SAMPLE.iter_unpack(memoryview(payload)[start:]):
            _check_times(t_ms, lived_ms)
            series = self._series.get(ref)
            if series is None:
                raise UnknownReferenceError("a sample of an unknown series")
            samples.append((series, t_ms, value))
        buffers = head.writing(lived_ms, self.segment)
        assert isinstance(buffers, AppendedHead)
        for series, t_ms, value in samples:
            newest = buffers.newest_ms(series.ref)
            if newest is not None and (t_ms <= newest or buffers.tallest >= MAX_ROWS):
                raise ValueError("a sample out of order")
            buffers.append(series, t_ms, value)
        buffers.seen = max(lived_ms, buffers.seen)
        head.wrote(len(samples), self.segment)

    def _head(self, number: int) -> ReplayedHead:
        head = self.heads.get(number)
        if head is None:
            raise UnknownReferenceError("samples of an unknown head")
        return head

    def _count(self, number: int) -> None:
        if not 0 < number < MAX_NUMBER:
            raise ValueError(f"number {number} is out of range")
        self.highest = max(self.highest, number)

    def _know(self, ref: int, labels: Labels, *, kept: bool) -> IndexedSeries:
        """The series, created if need be. Raises ValueError for an invalid ref or invalid labels."""
        series = self._series.get(ref)
        if series is None:
            if not 0 < ref < MAX_NUMBER or not proper(labels):
                raise ValueError("a series with invalid labels")
            series = self._series[ref] = IndexedSeries(labels, ref, 0)
        elif series.labels != labels:
            raise ValueError("a ref with two sets of labels")
        series.kept |= kept
        return series


def _check_times(t_ms: int, lived_ms: int) -> None:
    if not (-MAX_TIME < t_ms < MAX_TIME and 0 <= lived_ms < MAX_TIME):
        raise ValueError("a time out of range")
