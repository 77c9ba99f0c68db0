"""Sealing and merging: heads into blocks and blocks into larger ones, a column a step, without numpy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prom_probe.model.sample import STALE_BITS, STALE_BYTES
from prom_probe.tsdb.block import Block, BlockWriter
from prom_probe.tsdb.encoding import column

if TYPE_CHECKING:
    from prom_probe.tsdb.loose import Buffers
    from prom_probe.tsdb.run import Run
    from prom_probe.tsdb.stream import Sealing


def seal_run(run: Run) -> Sealing:
    """The block of a closed run: one timeline, and the columns that have samples.

    Rows without any sample are kept too: all series are absent there, which ends them.
    """
    width = max(len(row) for row in run.rows) // 8
    table = array("Q", b"".join([row + STALE_BYTES * (width - len(row) // 8) for row in run.rows]))
    writer = BlockWriter()
    writer.add_timeline(run.times)
    mapping = run.mapping
    for ref, place in sorted(mapping.position.items()):
        if place >= width:
            continue
        words = table[place::width]
        for twin in mapping.twins.get(ref, ()):
            if twin < width:
                words = _later(words, table[twin::width])
        encoded = column.encode(words)
        if encoded.samples:
            writer.add(ref, 0, encoded)
            series = mapping.series[place]
            if series is not None:
                series.seen = max(series.seen, run.seen)
        yield
    return writer.finish(run.since, run.seen)


def seal_buffers(buffers: Buffers) -> Sealing:
    """The block of closed buffers: series with equal timestamps share a timeline."""
    writer = BlockWriter()
    timelines: dict[bytes, int] = {}
    for times in buffers.times:
        packed = times.tobytes()
        if packed not in timelines:
            timelines[packed] = writer.add_timeline(times)
            yield
    for ref, slot in sorted(buffers.slots.items()):
        encoded = column.encode(array("Q", buffers.values[slot].tobytes()))
        writer.add(ref, timelines[buffers.times[slot].tobytes()], encoded)
        yield
    return writer.finish(buffers.since, buffers.seen)


def merge(blocks: Sequence[Block], *, shared: bool) -> Sealing:
    """One block of neighbours, oldest first; None where a series' timestamps do not rise from block to block.

    `shared`: the blocks have one timeline each and all series follow it, also where a block has no sample of them.
    """
    refs = sorted(set().union(*(block.refs for block in blocks)))
    whole = (0,) * len(blocks)
    keys = [whole if shared else tuple(block.timeline(ref) for block in blocks) for ref in refs]
    writer = BlockWriter()
    timelines: dict[tuple[int | None, ...], int] = {}
    for key in keys or [whole]:  # without series there is a timeline still
        if key not in timelines:
            times = _joined(blocks, key)
            if times is None:
                return None
            timelines[key] = writer.add_timeline(times)
            yield
    for ref, key in zip(refs, keys, strict=True):
        words = array("Q")
        for block, timeline in zip(blocks, key, strict=True):
            place = block.place(ref)
            if place is not None:
                words += block.words(place)
            elif timeline is not None:
                words += array("Q", [STALE_BITS]) * block.rows(timeline)
        writer.add(ref, timelines[key], column.encode(words))
        yield
    return writer.finish(blocks[0].since, blocks[-1].seen)


def _joined(blocks: Sequence[Block], key: tuple[int | None, ...]) -> list[int] | None:
    """A timeline of each block one after the other; None where they do not rise."""
    times: list[int] = []
    for block, timeline in zip(blocks, key, strict=True):
        if timeline is not None:
            more = block.timestamps(timeline)
            if times and times[-1] >= more[0]:
                return None
            times += more
    return times


def _later(first: array[int], second: array[int]) -> array[int]:
    """A series' two columns as one: the later one counts where it has a value."""
    return array("Q", [b if b != STALE_BITS else a for a, b in zip(first, second, strict=True)])
