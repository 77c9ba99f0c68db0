"""Sealing and merging: heads become blocks, and blocks larger ones, a column at a time, without numpy."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from itertools import groupby, repeat
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from prom_probe.model.sample import STALE_BITS, STALE_BYTES
from prom_probe.tsdb.block import Block, BlockWriter
from prom_probe.tsdb.encoding import column, record
from prom_probe.tsdb.off_heap import joined

# Work that yields after each step and returns a block; None where none can be made.
Sealing: TypeAlias = Generator[None, None, Block | None]

_STALE = array("Q", [STALE_BITS])


def seal_rows(
    times: Sequence[int],
    rows: Sequence[bytes],
    sections: Iterable[tuple[int, int, Sequence[int]]],
    since: int,
    seen: int,
    known: Collection[int],
) -> Sealing:
    """The block of a closed head of rows: one timeline, and the columns of the `known` series that have samples.

    `sections`: rows [start, end) and the series of each of their columns, 0 for none. Rows without any sample are kept
    too: all series are absent there, which ends them.
    """
    writer = BlockWriter()
    writer.add_timeline(times)
    tables: list[_Table] = []
    columns: list[Iterator[tuple[int, int, int]]] = []  # for each table, by ref: (ref, table, column)
    for start, end, column_refs in sections:
        some = rows[start:end]
        width = max(map(len, some)) // 8
        if not width:
            continue
        words = joined([part for row in some for part in (row, STALE_BYTES * (width - len(row) // 8))]).cast("Q")
        tables.append(_Table(start, end, width, words))
        refs = column_refs[:width]
        places = array("I", sorted((p for p, ref in enumerate(refs) if ref in known), key=refs.__getitem__))
        columns.append(zip(map(refs.__getitem__, places), repeat(len(columns)), places))
        yield
    del known  # it is large
    for ref, same in groupby(heapq.merge(*columns), itemgetter(0)):
        encoded = column.encode(_assembled([(place, tables[number]) for _, number, place in same], len(rows)))
        if encoded.flips != []:
            writer.add(ref, 0, encoded)
        yield
    return writer.finish(since, seen)


class _Table(NamedTuple):
    """Rows [start, end) of a head, whose columns are the same series, as one array of words."""

    start: int
    end: int
    width: int
    words: memoryview

    def column(self, place: int) -> array[int]:
        return array("Q", self.words[place :: self.width].tobytes())


def _assembled(columns: list[tuple[int, _Table]], rows: int) -> array[int]:
    """A series' words from its columns; where two columns have a value in a row, the later one counts."""
    place, table = columns[0]
    if len(columns) == 1 and table.end - table.start == rows:
        return table.column(place)
    out = _STALE * rows
    for place, table in columns:
        words = table.column(place)
        before = out[table.start : table.end]
        if before.count(STALE_BITS) < len(before):
            words = array("Q", [b if b != STALE_BITS else a for a, b in zip(before, words, strict=True)])
        out[table.start : table.end] = words
    return out


def seal_samples(columns: Sequence[tuple[int, array[int], array[float]]], since: int, seen: int) -> Sealing:
    """The block of (ref, times, values) by ascending ref: series with equal timestamps share a timeline."""
    writer = BlockWriter()
    timelines: dict[bytes, int] = {}
    for _, times, _ in columns:
        packed = times.tobytes()
        if packed not in timelines:
            timelines[packed] = writer.add_timeline(times)
            yield
    for ref, times, values in columns:
        writer.add(ref, timelines[times.tobytes()], column.encode(array("Q", values.tobytes())))
        yield
    return writer.finish(since, seen)


def merge(blocks: Sequence[Block], known: Collection[int], *, shared: bool) -> Sealing:
    """One block of the `known` series of neighbouring blocks, oldest first.

    None if a series' timestamps do not rise from block to block, or if no timeline is left. `shared`: each block has
    one timeline, which all series follow even where a block has no samples of them.
    """
    writer = BlockWriter()
    columns = []  # for each block: the refs that stay
    for block in blocks:
        columns.append(array("q", filter(known.__contains__, block.refs)))
        yield
    del known  # it is large
    whole = (0,) * len(blocks)
    timelines: dict[tuple[int | None, ...], int] = {}
    for key in (whole,) if shared else (_timelines(blocks, ref) for ref in _union(columns)):
        if key not in timelines:
            times = _joined_times(blocks, key)
            if times is None:
                return None
            timelines[key] = writer.add_timeline(times)
        yield
    if not timelines:
        return None
    for ref in _union(columns):
        key = whole if shared else _timelines(blocks, ref)
        writer.add(ref, timelines[key], _joined(blocks, ref, key))
        yield
    return writer.finish(blocks[0].since, blocks[-1].seen)


def _union(columns: Sequence[array[int]]) -> Iterator[int]:
    """The refs of all blocks, ascending, without duplicates."""
    last = None
    for ref in heapq.merge(*columns):
        if ref != last:
            yield ref
        last = ref


def _timelines(blocks: Sequence[Block], ref: int) -> tuple[int | None, ...]:
    return tuple(block.timelines_of((ref,))[0] for block in blocks)


def _joined_times(blocks: Sequence[Block], key: tuple[int | None, ...]) -> list[int] | None:
    """The timestamps of the blocks' timelines, joined; None if they do not rise."""
    times: list[int] = []
    for block, timeline in zip(blocks, key, strict=True):
        if timeline is not None:
            more = block.timestamps(timeline)
            if times and times[-1] >= more[0]:
                return None
            times += more
    return times


def _joined(blocks: Sequence[Block], ref: int, key: tuple[int | None, ...]) -> record.Record:
    """A series' columns of all blocks joined; absent in the rows of blocks that have none.

    A column that only one block has, as those of short-lived processes, is not decoded.
    """
    heights = [0 if timeline is None else block.rows(timeline) for block, timeline in zip(blocks, key, strict=True)]
    places = [block.place(ref) for block in blocks]
    if sum(place is not None for place in places) == 1:
        number, only = next((i, place) for i, place in enumerate(places) if place is not None)
        alone = blocks[number].column(only)
        return record.shifted(alone, heights[number], sum(heights[:number]), sum(heights))
    words = array("Q")
    for block, place, height in zip(blocks, places, heights, strict=True):
        words += block.words(place) if place is not None else _STALE * height
    return column.encode(words)
