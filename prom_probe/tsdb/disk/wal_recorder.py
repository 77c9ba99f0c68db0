"""The records of a WAL segment: heads, column maps and series are introduced before their samples, once a segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prom_probe.tsdb.disk import wal
from prom_probe.tsdb.disk.blockfile import HeadRange
from prom_probe.tsdb.disk.wal import Entry

if TYPE_CHECKING:
    from prom_probe.tsdb.column_map import ColumnMap
    from prom_probe.tsdb.index import IndexedSeries

_SAMPLES_BYTES = 1 << 16  # of appended samples in one record


class WalRecorder:
    """Collects records until they are taken. A row's payload is not copied."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.size = 0  # bytes of the collected records
        self._numbers = numbers
        self._entries: list[Entry] = []
        self._introductions: list[Entry] = []  # those among the collected records
        self._heads: set[int] = set()
        self._mappings: dict[
            str, tuple[ColumnMap, int, int]
        ] = {}  # by collector: column map, its number, columns introduced
        self._series: set[int] = set()
        self._samples = bytearray()
        self._samples_of = (0, 0)  # their head and lived time

    def begin_segment(self) -> None:
        """Forget the collected records, and introduce everything anew from here on."""
        self.forget()
        self._heads.clear()
        self._mappings.clear()
        self._series.clear()
        self._samples_of = (0, 0)

    def forget(self) -> None:
        self.size = 0
        self._entries = []
        self._introductions = []
        self._samples.clear()

    def take(self) -> list[Entry]:
        """The records collected since the last call."""
        self._end_samples()
        entries, self._entries = self._entries, []
        again, self._introductions = self._introductions, []
        if sum(map(wal.framed_size, again)) <= wal.REPEATED_BYTES:
            entries += again
        self.size = 0
        return entries

    def row(self, heads: HeadRange, mapping: ColumnMap, t_ms: int, payload: bytes, lived_ms: int) -> None:
        number = self._introduce(heads, mapping)
        self._put((wal.ROW_START.pack(wal.ROW, heads.first, number, t_ms, lived_ms), payload))

    def sample(self, heads: HeadRange, series: IndexedSeries, t_ms: int, value: float, lived_ms: int) -> None:
        if self._samples_of != (heads.first, lived_ms) or len(self._samples) >= _SAMPLES_BYTES:
            self._end_samples()
            self._introduce_head(heads)
            self._samples_of = (heads.first, lived_ms)
        if series.ref not in self._series:
            self._series.add(series.ref)
            self._introduce_by(wal.entry(wal.SeriesRecord(series.ref, series.labels)))
        self._samples += wal.SAMPLE.pack(series.ref, t_ms, value)
        self.size += wal.SAMPLE.size

    def dropped(self, heads: HeadRange) -> None:
        self._put(wal.entry(wal.DroppedRecord(heads.stream, heads.last)))

    def _put(self, record: Entry) -> None:
        self._entries.append(record)
        self.size += wal.framed_size(record)

    def _introduce_by(self, record: Entry) -> None:
        self._put(record)
        self._introductions.append(record)

    def _end_samples(self) -> None:
        if self._samples:
            self._entries.append((wal.SAMPLES_START.pack(wal.SAMPLES, *self._samples_of), bytes(self._samples)))
            self._samples.clear()

    def _introduce_head(self, heads: HeadRange) -> None:
        if heads.first not in self._heads:
            self._heads.add(heads.first)
            self._introduce_by(wal.entry(wal.HeadRecord(heads.first, heads.stream)))

    def _introduce(self, heads: HeadRange, mapping: ColumnMap) -> int:
        """The column map's number, after introducing those of its columns that are not in the segment yet."""
        self._introduce_head(heads)
        name = heads.stream or ""
        known, number, columns = self._mappings.get(name, (None, 0, 0))
        if known is not mapping:
            number, columns = next(self._numbers), 0
        elif columns == len(mapping.columns):
            return number
        fresh = mapping.series[columns:]
        refs = [series.ref if series is not None else 0 for series in fresh]
        more = mapping.columns[columns:]
        kept = [column.exposed for column in more]
        self._introduce_by(wal.columns_entry(number, mapping.layout, columns, more, refs, kept))
        self._mappings[name] = (mapping, number, len(mapping.columns))
        return number
