"""Retention: exactly the oldest goes, and everything else remains."""

import pytest

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.appended import AppendedStream
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.retention import LivedTime, drop_excess, drop_expired, drop_live
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.tsdb_tools import ALWAYS, local, row


def _stream(*lived_ms: int) -> AppendedStream:
    """A stream of closed heads of one sample each, appended at these times."""
    stream, series = AppendedStream(), IndexedSeries(make_labels("x"), 1, 0)
    for number, one in enumerate(lived_ms):
        stream.append(series, number, 1.0, lived_ms=one, ahead_ms=None)
        stream.close()
    return stream


def _left(*streams: AppendedStream) -> list[list[int]]:
    return [[piece.seen for piece in stream.pieces] for stream in streams]


@pytest.mark.parametrize(
    ("pieces", "left"),
    [
        (0, [[1000, 3000], [2000, 4000]]),
        (0.5, [[3000], [2000, 4000]]),
        (1, [[3000], [2000, 4000]]),
        (1.5, [[3000], [4000]]),
        (3, [[], [4000]]),
        (9, [[], []]),
    ],
)
def test_the_oldest_pieces_make_up_for_the_excess(pieces: float, left: list[list[int]]) -> None:
    """No piece more than it takes goes, whichever stream it is in."""
    streams = _stream(1000, 3000), _stream(2000, 4000)
    excess = round(pieces * streams[0].pieces[0].size)
    assert drop_excess(streams, excess) == (pieces > 0)
    assert _left(*streams) == left


@pytest.mark.parametrize(
    ("before", "left"), [(1000, [1000, 2000, 3000]), (1001, [2000, 3000]), (3000, [3000]), (9000, [])]
)
def test_pieces_expire_by_their_last_sample(before: int, left: list[int]) -> None:
    """A piece as old as the limit stays."""
    stream = _stream(1000, 2000, 3000)
    assert drop_expired([stream], before) == (len(left) < 3)
    assert _left(stream) == [left]
    assert stream.dropped == 3 - len(left)


def test_series_that_come_back_during_a_sweep_stay() -> None:
    """A series without samples that gets one while the pieces are gone through stays in the index."""
    stream = AppendedStream()
    old, back = (IndexedSeries(make_labels(name), ref, 0) for ref, name in enumerate(("old", "back"), 1))
    stream.append(old, 1000, 1.0, lived_ms=0, ahead_ms=None)
    stream.close()
    refs = {1, 2, 3}
    steps = drop_live(refs, [stream])
    next(steps)
    stream.append(back, 2000, 1.0, lived_ms=0, ahead_ms=None)
    stream.close()
    assert list(steps) == []
    assert refs == {3}


@pytest.mark.parametrize(
    ("ticks", "lived"),
    [
        ([5000], 0),
        ([5000, 6000, 6000, 7500], 2500),
        ([0, -1, 999], 1000),
        ([0, 59_999], 59_999),
        ([0, 60_000], 60_000),
        ([0, 90_000_000, 90_001_000], 61_000),
    ],
)
def test_lived_time_leaves_out_jumps_of_the_clock(ticks: list[int], lived: int) -> None:
    """A step back counts as nothing, and a step forward as a minute at most."""
    time = LivedTime()
    for now_ms in ticks:
        time.tick(now_ms)
    assert time.ms == lived


def _full_store() -> Store:
    """A store at its cap of three series, `a0` to `a2`, which have all ended; `a0` is the last one that was seen."""
    store = Store(StoreOptions(max_series=3))
    for i in range(3):
        store.announce(f"c{i}", 0, 0, [local(f"a{i}")])
        store.append_row(f"c{i}", 0, 1000, row([1.0]))
    for now_ms in range(0, 20_000, 1000):
        store.maintain(now_ms)
    store.announce("c0", 1, 0, [local("a0")])
    for i, layout in enumerate((1, 0, 0)):
        store.append_row(f"c{i}", layout, 2000, row([None]))
    return store


def _names(store: Store) -> list[str]:
    return store.snapshot().label_values("i", *ALWAYS, [])


def test_the_series_that_ended_longest_ago_is_evicted_first() -> None:
    """Not the one that is oldest; of two that ended together, the one that was created first."""
    store = _full_store()
    assert _names(store) == ["a0", "a1", "a2"]
    for new, left in (("b0", ["a0", "a2"]), ("b1", ["a0"]), ("b2", [])):
        store.announce(new, 0, 0, [local(new)])
        store.append_row(new, 0, 3000, row([1.0]))
        assert [name for name in _names(store) if name.startswith("a")] == left
    assert store.stats().series == 3


def test_only_as_many_are_evicted_as_there_is_need_of_room() -> None:
    """Two new series take the place of two; a fourth, with nothing left to evict, is refused and counted."""
    store = _full_store()
    store.announce("d", 0, 0, [local("d0"), local("d1")])
    store.append_row("d", 0, 3000, row([1.0, 1.0]))
    assert _names(store) == ["a0", "d0", "d1"]
    store.announce("d", 0, 2, [local("d2"), local("d3")])
    store.append_row("d", 0, 4000, row([1.0] * 4))
    assert _names(store) == ["d0", "d1", "d2"]
    assert store.stats().rejected == {"series_limit": 1}


def test_a_silent_series_of_appended_samples_is_evictable_after_five_minutes() -> None:
    """Until then it counts as alive, and a new one is refused."""
    store = Store(StoreOptions(max_series=1))
    store.maintain(0)
    assert store.append(make_labels("x"), 0, 1.0) == "appended"
    outcomes = []
    for now_ms in range(0, 310_000, 10_000):
        store.maintain(now_ms)
        outcomes.append(str(store.append(make_labels("y"), now_ms, 1.0)))
    assert outcomes == ["series_limit"] * 30 + ["appended"]
