"""Checkpoints: heads written into the WAL again from memory, as they were when the checkpoint was made."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from prom_probe.model.family import Column, Family
from prom_probe.tsdb.disk import wal
from prom_probe.tsdb.disk.blockfile import HeadRange, NamedSeries
from prom_probe.tsdb.disk.wal import Entry
from prom_probe.tsdb.row_head import RowHead, sections

if TYPE_CHECKING:
    from prom_probe.tsdb.appended import AppendedHead
    from prom_probe.tsdb.column_map import ColumnMap, FrozenColumnMap
    from prom_probe.tsdb.index import IndexedSeries

# Yields the entries of a head; may be called in another thread while the head is appended to.
Checkpoint: TypeAlias = Callable[[], Iterator[Entry]]

# A frozen column map has no families; nobody asks for them.
_NO_FAMILY = Family("", "unknown", "")
_NO_LAYOUT = -1

_REF = attrgetter("ref")
_GONE: NamedSeries = ((), False)


class SeriesRegister:
    """Looks series up by ref, in any thread: the index's list of all series, as of when this was made."""

    def __init__(self, members: Sequence[IndexedSeries]) -> None:
        self._members = members

    def named(self, refs: Sequence[int]) -> list[NamedSeries]:
        """The series of each ref; without labels if it is gone."""
        return [self._named(ref) for ref in refs]

    def _named(self, ref: int) -> NamedSeries:
        place = bisect_left(self._members, ref, key=_REF)
        if place == len(self._members):
            return _GONE
        series = self._members[place]
        return (series.labels, series.kept) if series.ref == ref and not series.gone else _GONE


def make_checkpoint(
    heads: HeadRange, head: RowHead | AppendedHead, register: SeriesRegister, numbers: Iterator[int]
) -> Checkpoint:
    """The head's entries as of now; column maps get their numbers from `numbers`."""
    if isinstance(head, RowHead):
        rows, mappings = len(head.times), head.mappings.copy()
        return lambda: _row_head(heads, head, rows, mappings, register, numbers)
    counts = head.counts[:]
    return lambda: _appended_head(heads, head, counts)


def _row_head(
    heads: HeadRange,
    run: RowHead,
    rows: int,
    mappings: Sequence[tuple[int, ColumnMap | FrozenColumnMap]],
    register: SeriesRegister,
    numbers: Iterator[int],
) -> Iterator[Entry]:
    yield from _twice(wal.HeadRecord(heads.first, heads.stream, rows))
    for start, end, mapping in sections(mappings, rows):
        number, refs = next(numbers), mapping.by_column()
        named = register.named(refs)
        columns = [Column(_NO_FAMILY, labels) for labels, _ in named]
        found = [ref if labels else 0 for ref, (labels, _) in zip(refs, named, strict=True)]
        record = wal.columns_entry(number, _NO_LAYOUT, 0, columns, found, [kept for _, kept in named])
        yield record
        if wal.framed_size(record) <= wal.REPEATED_BYTES:
            yield record
        for row in range(start, end):
            lived = run.seen if row else run.since
            yield wal.ROW_START.pack(wal.ROW, heads.first, number, run.times[row], lived), run.rows[row]


def _appended_head(heads: HeadRange, buffers: AppendedHead, counts: array[int]) -> Iterator[Entry]:
    there = [(slot, samples) for slot, samples in enumerate(counts) if samples and not buffers.series[slot].gone]
    yield from _twice(wal.HeadRecord(heads.first, heads.stream, sum(samples for _, samples in there)))
    lived = buffers.since
    for slot, samples in there:
        series = buffers.series[slot]
        yield from _twice(wal.SeriesRecord(series.ref, series.labels))
        pairs = zip(buffers.times[slot][:samples], buffers.values[slot][:samples], strict=True)
        packed = b"".join([wal.SAMPLE.pack(series.ref, t_ms, value) for t_ms, value in pairs])
        yield wal.SAMPLES_START.pack(wal.SAMPLES, heads.first, lived), packed
        lived = buffers.seen


def _twice(said: wal.Introduction) -> Iterator[Entry]:
    """An introduction and its copy, in case one of them gets damaged."""
    record = wal.entry(said)
    yield record
    yield record
