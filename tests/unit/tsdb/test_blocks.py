"""Background work: rows are sealed, merged and dropped, in small steps and without numpy."""

import mmap
import random
import subprocess
import sys

import pytest

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.store import AppendOutcome, Store, StoreOptions
from tests.support.paths import ROOT
from tests.support.tsdb_tools import drain, gauges, local, row, samples_of


def _beats(store: Store, count: int, width: int = 3, first: int = 0) -> None:
    for beat in range(first, first + count):
        store.append_row("c", 0, beat * 1000, row([beat * 1.5 + i for i in range(width)]))
        drain(store, beat * 1000)


def test_rows_are_sealed_and_merged() -> None:
    """256 rows make a block, and four blocks of 256 make one of 1,024; nothing changes for readers."""
    store = Store()
    store.announce("c", 0, 0, gauges(3))
    _beats(store, 1000)
    assert [block.height for block in store.blocks()] == [256, 256, 256]
    before = samples_of(store.snapshot())
    _beats(store, 50, first=1000)
    assert [block.height for block in store.blocks()] == [1024]
    after = samples_of(store.snapshot())
    assert {labels: samples[:1000] for labels, samples in after.items()} == before
    stats = store.stats()
    assert (stats.samples, stats.appended, stats.pieces) == (3150, 3150, 2)


def test_a_run_goes_on_through_new_layouts() -> None:
    """New columns every few beats, as in a storm of processes, do not make blocks smaller."""
    store = Store()
    for beat in range(600):
        store.announce("c", beat // 3, 0, [*gauges(2), local(f"p{beat // 5}")])
        store.append_row("c", beat // 3, beat * 1000, row([1.0, beat, 5.0]))
        drain(store, beat * 1000)
    assert [block.height for block in store.blocks()] == [256, 256]
    got = samples_of(store.snapshot())
    assert len(got[gauges(2)[1].labels]) == 600
    assert [t // 1000 for t, _ in got[local("p7").labels]] == [35, 36, 37, 38, 39]


def test_series_of_equal_timestamps_share_a_timeline_in_blocks() -> None:
    """Samples appended in batches of one timestamp share a timeline, through sealing and merging."""
    store = Store()
    for beat in range(1100):
        for i in range(8):
            store.append(make_labels("x", {"i": str(i)}), beat * 1000, float(beat * i))
        store.append(make_labels("alone"), beat * 1000 + 7 * (beat % 3), float(beat))
        drain(store, beat * 1000)
    (block,) = store.blocks()
    assert (block.timelines, block.columns, block.height) == (2, 9, 1024)
    assert len(list(store.snapshot().select(0, 1 << 40, []))) == 2
    got = samples_of(store.snapshot())
    assert {len(samples) for samples in got.values()} == {1100}


def test_blocks_of_a_clock_set_back_stay_apart() -> None:
    """What cannot be one timeline is not merged, and is read correctly."""
    store = Store()
    store.announce("c", 0, 0, gauges(1))
    now = 100_000_000
    for _ in range(4):
        for beat in range(256):
            store.append_row("c", 0, now + beat * 1000, row([float(beat)]))
            drain(store, now + beat * 1000)
        now -= 10_000
    assert len(store.blocks()) == 4
    got = samples_of(store.snapshot())[gauges(1)[0].labels]
    assert [t for t, _ in got] == sorted({t for t, _ in got})
    assert len(got) == 256 + 3 * 10


def test_a_series_that_began_again_is_not_merged_out_of_order() -> None:
    """Samples appended after the clock was set back by hours: separate blocks, and no sample is lost."""
    store = Store()
    labels = make_labels("x")
    hour = 3_600_000
    for start in (10 * hour, 5 * hour):
        for beat in range(600):
            now = start + beat * 1000
            store.maintain(now)
            assert store.append(labels, now, float(beat)) is AppendOutcome.APPENDED
            drain(store, now)
    assert len(samples_of(store.snapshot())[labels]) == 1200
    assert all(block.mint + hour > block.maxt for block in store.blocks())


def test_a_series_that_began_anew_in_its_layout_is_one_column() -> None:
    """Two columns of one series are one in the block: the later one counts where it has a value."""
    store = Store()
    one = gauges(1)[0]
    store.announce("c", 0, 0, [one, *gauges(2)[1:]])
    store.announce("c", 0, 2, [one])
    for beat in range(256):
        store.append_row("c", 0, beat * 1000, row([1.0, 2.0, None] if beat < 100 else [None, 2.0, 3.0]))
    drain(store)
    (block,) = store.blocks()
    assert block.columns == 2
    values = samples_of(store.snapshot())[one.labels]
    assert [value for _, value in values] == [row([1.0])] * 100 + [row([3.0])] * 156


def test_a_merge_frees_what_was_decoded_of_its_parts() -> None:
    """Columns of merged blocks do not stay in the decode cache."""
    store = Store()
    store.announce("c", 0, 0, gauges(3))
    _beats(store, 1000)
    samples_of(store.snapshot())
    assert store._cache.bytes > 3 * 3 * 256
    _beats(store, 24, first=1000)
    assert store._cache.bytes == 0


def test_a_column_without_samples_keeps_its_series() -> None:
    """A series that has no value for longer than the retention is still found when it gets one."""
    store = Store(StoreOptions(retention_ms=60_000))
    store.announce("c", 0, 0, gauges(2))
    for beat in range(400):
        store.append_row("c", 0, beat * 1000, row([1.0, None]))
        drain(store, beat * 1000)
    store.append_row("c", 0, 400_000, row([1.0, 2.0]))
    assert gauges(2)[1].labels in samples_of(store.snapshot())


def test_work_is_done_in_small_steps() -> None:
    """Without any time to spend, each call does one step, and eventually everything is sealed."""
    store = Store()
    store.announce("c", 0, 0, gauges(20))
    for beat in range(300):
        store.append_row("c", 0, beat * 1000, row([random.Random(beat).random()] * 20))
    steps = 1
    while store.maintain(300_000, 0.0):
        steps += 1
    assert steps >= 20
    assert [block.height for block in store.blocks()] == [256]


def test_bytes_are_what_the_blocks_take() -> None:
    """`stats().bytes` grows by the data, the refs and a little more."""
    store = Store()
    store.announce("c", 0, 0, gauges(50))
    empty = store.stats().bytes
    for beat in range(1024):
        store.append_row("c", 0, beat * 1000, row([random.Random(beat * i).random() for i in range(50)]))
    drain(store)
    (block,) = store.blocks()
    assert 0 <= store.stats().bytes - empty - len(block.data) - 8 * 50 <= 2000 + mmap.PAGESIZE
    assert 6 * 50 * 1024 < len(block.data) < 8 * 50 * 1024


def test_memory_comes_back_with_the_series() -> None:
    """Series that have no samples left leave the index, and its bytes with them."""
    store = Store(StoreOptions(retention_ms=600_000))
    peak = 0
    for beat in range(4000):
        store.append(make_labels("x", {"beat": str(beat)}), beat * 1000, 1.0)
        drain(store, beat * 1000)
        peak = max(peak, store.stats().bytes)
    bytes_then = store.stats().bytes
    for beat in range(4000, 8000):
        store.append(make_labels("x", {"beat": str(beat)}), beat * 1000, 1.0)
        drain(store, beat * 1000)
    assert store.stats().bytes < 1.2 * bytes_then
    assert store.stats().series < 800
    for beat in range(8000, 9000):
        drain(store, beat * 1000)
    assert store.stats().series == 0
    assert store.stats().bytes < peak / 5


_WRITER = """
import struct, sys
from prom_probe.model.family import Family, column
from prom_probe.tsdb.store import Store
store = Store()
store.announce("c", 0, 0, [column(Family("g", "gauge", ""), i=str(i)) for i in range(3)])
for beat in range(1100):
    store.append_row("c", 0, beat * 1000, struct.pack("<3d", beat, beat / 7, 1))
    store.append((("__name__", "x"),), beat * 1000, beat / 3)
    while store.maintain(beat * 1000):
        pass
store.flush(), store.newest(), list(store.families()), store.snapshot()
unwanted = "numpy", "asyncio", "regex", "ssl", "prom_probe.tsdb.disk"
print(store.stats().pieces, [name for name in unwanted if name in sys.modules])
store.close()
"""


def test_the_writer_loads_only_what_it_needs() -> None:
    """Appending, sealing, merging, `newest` and snapshots need no numpy; without a path, nothing of the disk."""
    done = subprocess.run([sys.executable, "-c", _WRITER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "4 []\n"


@pytest.mark.parametrize("width", [1, 5, 40])
def test_one_series_or_many_read_the_same(width: int) -> None:
    """Few columns are cut out of the rows, many are taken from all rows at once: the samples are the same."""
    store = Store()
    store.announce("c", 0, 0, gauges(40))
    rng = random.Random(3)
    table = [[rng.random() for _ in range(40)] for _ in range(300)]
    for beat, values in enumerate(table):
        store.append_row("c", 0, beat * 1000, row(values))
    got = [
        (labels, values)
        for group in store.snapshot().select(0, 1 << 40, [], batch=width)
        for labels, values in zip(group.labels, group.values.tolist(), strict=True)
    ]
    assert got == [(column.labels, [values[i] for values in table]) for i, column in enumerate(gauges(40))]
