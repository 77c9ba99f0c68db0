"""The store takes as much memory as it says, and frees it."""

import gc
import mmap
import random
import tracemalloc
import weakref
from array import array
from collections.abc import Callable

import pytest

from prom_probe.model.family import Family, column
from prom_probe.model.labels import Labels, make_labels
from prom_probe.ring.codec import Announce, decode, encode_announcements
from prom_probe.threads import HeapTrimmer
from prom_probe.tsdb import off_heap
from prom_probe.tsdb.index import IndexedSeries, Posting
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.tsdb_tools import drain, local, row, samples_of

_SERIES = 720
_A_PROCESS = 12


def _labels(number: int) -> Labels:
    """Labels that share no string objects with others."""
    pairs = {"pid": str(number // _A_PROCESS), "comm": "sh", "tree": "main", "i": str(number % _A_PROCESS)}
    return make_labels("proctree_process", {"".join(list(key)): "".join(list(value)) for key, value in pairs.items()})


def _announce(store: Store) -> None:
    families = [Family(f"proctree_process_{i}", "gauge", "Something.") for i in range(_A_PROCESS)]
    columns = [column(families[i % _A_PROCESS], exposed=False, pid=str(i // _A_PROCESS)) for i in range(_SERIES)]
    for _, payload in encode_announcements("c", 0, columns, 0, 1 << 18):
        frame = decode(payload)
        assert isinstance(frame, Announce)
        store.announce("c", frame.layout, frame.start, frame.full_columns())


def _append_rows(store: Store) -> None:
    source = random.Random(1)
    for beat in range(60):
        values = array("d", [source.random() for _ in range(_SERIES)])
        store.append_row("c", 0, 1000 * beat, values.tobytes())


def _append_a_sample_each(store: Store, beat: int = 0) -> None:
    for number in range(_SERIES):
        store.append(_labels(number), 1000 * beat, number / 7 * beat)


def _append_more_samples(store: Store) -> None:
    for beat in range(1, 20):
        _append_a_sample_each(store, beat)


@pytest.mark.parametrize(
    "steps",
    [[_announce, _append_rows, drain], [_append_a_sample_each, _append_more_samples, drain]],
    ids=["rows", "appended samples"],
)
def test_accounted_bytes_are_what_is_taken(
    steps: list[Callable[[Store], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stats().bytes` grows as the interpreter's allocations do, within 15 %."""
    monkeypatch.setattr(off_heap, "_LEAST", 1 << 62)  # blocks on the heap, where they are traced
    store = Store()
    gc.collect()
    tracemalloc.start(1)
    try:
        for step in steps:
            step(store)
            gc.collect()
            assert store.stats().bytes == pytest.approx(tracemalloc.get_traced_memory()[0], rel=0.15)
    finally:
        tracemalloc.stop()


def _alive(kind: type) -> int:
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def test_series_that_left_are_no_objects_any_more() -> None:
    """Once their samples are gone, neither the index nor the eviction list keeps the series of a storm alive."""
    store = Store(StoreOptions(retention_ms=60_000, max_series=1000))
    others = {kind: _alive(kind) for kind in (IndexedSeries, Posting)}
    born = 0
    for beat in range(240):
        if beat < 120:  # a layout of new series
            store.announce("c", beat, 0, [local(str(born + i)) for i in range(50)])
            store.append_row("c", beat, beat * 1000, row([1.0] * 50))
            born += 50
        while store.maintain(beat * 1000):
            pass
    assert store.stats().series == 50
    assert _alive(IndexedSeries) - others[IndexedSeries] <= 50 + 200, "200 may wait for the index to be rebuilt"
    assert _alive(Posting) - others[Posting] <= 51 + 200


def test_evicted_series_are_left_out_of_blocks() -> None:
    """Sealing and merging drop the samples that queries cannot find; an older snapshot still sees them."""
    store = Store(StoreOptions(max_series=10))
    place = 0
    seen = None
    for beat in range(1024):
        if beat % 64 == 0:
            store.announce("c", 0, place, [local(f"{beat}.{i}") for i in range(5)])
            place += 5
        store.append_row("c", 0, beat * 1000, row([*[None] * (place - 5), *[float(beat)] * 5]))
        store.maintain(beat * 1000)
        if beat == 100:
            seen = store.snapshot()
    drain(store)
    known = {series.ref for series in store._by_labels.values()}
    blocks = store.blocks()
    assert [block.height for block in blocks] == [1024]
    assert len(known) == 10 and set(blocks[0].refs) == known
    assert seen is not None
    before = samples_of(seen)
    assert len(before) == 10 and all(before.values())


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 100_001])
def test_pages_hold_what_was_put_there_and_go_with_the_last_view(size: int) -> None:
    """Few bytes stay on the heap; many have pages of their own, until the last view of them is gone."""
    data = random.Random(size).randbytes(size)
    view = off_heap.joined([data[: size // 3], memoryview(data)[size // 3 :]])
    assert view == data and view.readonly
    assert size <= off_heap.footprint(size) < size + mmap.PAGESIZE
    assert isinstance(view.obj, off_heap.AnonymousPages) == (size >= 16_384)
    if isinstance(view.obj, off_heap.AnonymousPages):
        alive, part = weakref.ref(view.obj), view[5:9]
        del view
        assert alive() is not None and part == data[5:9]
        del part
        assert alive() is None


def test_the_heap_is_trimmed_once_much_has_gone() -> None:
    """Small ups and downs do nothing; each fall by 2 MiB trims once."""
    trims = 0

    def trim() -> None:
        nonlocal trims
        trims += 1

    kept_mib = iter([1, 9, 8, 9, 7, 6, 5, 5, 6])
    trimmer = HeapTrimmer(lambda: next(kept_mib) << 20, trim)
    counts = []
    for _ in range(9):
        trimmer.check()
        counts.append(trims)
    assert counts == [0, 0, 0, 0, 1, 1, 2, 2, 2]
