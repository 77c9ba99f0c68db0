"""One writer and many reading threads: every snapshot is correct, whatever is sealed, merged and dropped meanwhile."""

import random
import sys
import threading
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from prom_probe.model.family import column
from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.tsdb.store import AppendOutcome, Snapshot, Store, StoreOptions
from tests.support.tsdb_tools import ALWAYS, COUNTER, GAUGE, row
from tests.support.waiting import DEADLINE_S

_READERS = 8
_BEATS = 1500
_WIDTH = 12
_ALL = _WIDTH + 3  # with the appended ones
_LIFE = 50  # beats of a `brief` series
_RETENTION = 700  # beats
_KEPT = _RETENTION - 10  # beats that must be there: lived time starts with the first call of `maintain`
_MEMBERS = {str(i) for i in range(_ALL)}
_BRIEF = Matcher("__name__", "=", "brief")


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads switch every 50 µs, so that readers interrupt the writer anywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def _value(i: int, beat: int) -> float:
    """The value of series `i` at a beat; every third series is not decimal."""
    return beat * (i + 1) / 3 if i % 3 == 0 else float(beat * (i + 1))


def _check(snapshot: Snapshot, before: int, after: int, rng: random.Random) -> int:
    """Read a random selection twice, and compare it with the formula; returns the number of samples.

    `before` and `after`: the newest complete beat before and after the snapshot was taken.
    """
    i = str(rng.randrange(_ALL))
    matcher, members = rng.choice([(Matcher("i", "=", i), {i}), (Matcher("i", "!~", "3|"), _MEMBERS - {"3"})])
    first = rng.randrange(_BEATS)
    last = first + rng.randrange(1, 500)
    mint, maxt, matchers = first * 1000, last * 1000, [matcher]
    floor = max(first, after - _KEPT)
    ends = range(min(last, before), min(last, after + 1) + 1)
    groups = list(snapshot.select(mint, maxt, matchers, batch=5))
    found: dict[Labels, list[int]] = {}
    for group in groups:
        beats = (group.timestamps // 1000).tolist()
        assert beats == list(range(beats[0], beats[-1] + 1)), "no beat is missing, none comes twice"
        assert first <= beats[0] <= floor or floor > before, "what is not dropped is there"
        assert beats[-1] in ends, "what was written before is there, and nothing is from afterwards"
        for labels, values in zip(group.labels, group.values, strict=True):
            assert labels not in found
            found[labels] = beats
            number = int(label_value(labels, "i"))
            assert values.tolist() == [_value(number, beat) for beat in beats]
    names = {label_value(labels, "i") for labels in found}
    assert names <= members
    assert names == members or floor > min(last, before)
    again = list(snapshot.select(mint, maxt, matchers, batch=5))
    assert [group.timestamps.tolist() for group in again] == [group.timestamps.tolist() for group in groups]
    assert [group.labels for group in again] == [group.labels for group in groups]
    seen = sum(map(len, found.values()))
    assert snapshot.count(mint, maxt, matchers) == (len(found), seen)
    assert snapshot.series(mint, maxt, matchers) == sorted(found)
    assert snapshot.label_names(mint, maxt, matchers) == (["__name__", "i"] if found else [])
    assert snapshot.label_values("i", mint, maxt, matchers) == sorted(names)
    _check_brief(snapshot, first, last, floor, before, ends[-1])
    return seen


def _check_brief(snapshot: Snapshot, first: int, last: int, floor: int, before: int, newest: int) -> None:
    """The short-lived series: each has its own beats, and none is listed without samples in the range."""
    lives = [int(life) for life in snapshot.label_values("beat", first * 1000, last * 1000, [_BRIEF])]
    lives.sort()
    assert lives == list(range(lives[0], lives[-1] + 1)) if lives else True
    assert set(lives) <= set(range(first // _LIFE, newest // _LIFE + 1))
    assert set(lives) >= set(range(floor // _LIFE, min(last, before) // _LIFE + 1)) or floor > min(last, before)
    found = []
    for group in snapshot.select(first * 1000, last * 1000, [_BRIEF]):
        for labels, values in zip(group.labels, group.values, strict=True):
            found.append(int(label_value(labels, "beat")))
            beats = (group.timestamps // 1000).tolist()
            assert {beat // _LIFE for beat in beats} == {found[-1]}
            assert beats == list(range(beats[0], beats[-1] + 1))
            assert values.tolist() == [1.0] * len(beats)
    assert sorted(found) == lives


@pytest.mark.usefixtures("quick_switches")
def test_readers_see_a_consistent_store() -> None:
    """Eight threads read during appends, new layouts, sealing, merging and retention."""
    store = Store(StoreOptions(retention_ms=_RETENTION * 1000, decode_cache_bytes=100_000))
    columns = [column(COUNTER if i % 2 else GAUGE, i=str(i)) for i in range(_WIDTH)]
    store.announce("c", 0, 0, columns)
    done = threading.Event()
    failures: list[BaseException] = []
    read = [0] * _READERS
    whole = -1  # the newest complete beat

    def reader(number: int) -> None:
        rng = random.Random(number)
        try:
            while not done.is_set() and not failures:
                before, snapshot, after = whole, store.snapshot(), whole
                for _ in range(3):
                    read[number] += _check(snapshot, before, after, rng)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(_READERS)]
    with patch("prom_probe.tsdb.row_head.MAX_ROWS", 16), patch("prom_probe.tsdb.appended.MAX_ROWS", 16):
        for thread in threads:
            thread.start()
        layout = 0
        order = list(range(_WIDTH))
        for beat in range(_BEATS):
            if beat % 100 == 99:
                layout += 1
                order.reverse()
                store.announce("c", layout, 0, [columns[i] for i in order])
            outcome = store.append_row("c", layout, beat * 1000, row([_value(i, beat) for i in order]))
            assert outcome is AppendOutcome.APPENDED
            for i in range(_WIDTH, _ALL):
                store.append(make_labels("appended", {"i": str(i)}), beat * 1000, _value(i, beat))
            store.append(make_labels("brief", {"beat": str(beat // _LIFE)}), beat * 1000, 1.0)
            whole = beat
            store.maintain(beat * 1000, 0.0002)
            if failures:
                break
        done.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert not failures, failures[0]
    assert all(read)
    stats = store.stats()
    assert stats.sealed > _BEATS // 16 and stats.merged > 10 and stats.dropped > _BEATS * _WIDTH // 4, stats
    assert stats.samples + stats.dropped == stats.appended, "each sample is there or counted as dropped"
    assert stats.series < _ALL + _BEATS // _LIFE, "series without samples have left"
    assert len(store.snapshot().label_values("beat", *ALWAYS, [])) < _BEATS // _LIFE


def test_a_snapshot_keeps_what_retention_drops() -> None:
    """A query that began before the samples were dropped still finds them, and their series."""
    store = Store(StoreOptions(retention_ms=60_000))
    for beat in range(10):
        store.append(make_labels("old"), beat * 1000, float(beat))
    snapshot = store.snapshot()
    for beat in range(10, 200):
        store.append(make_labels("new"), beat * 1000, float(beat))
        while store.maintain(beat * 1000, 1.0):
            pass
    assert store.snapshot().series(*ALWAYS, []) == [make_labels("new")]
    assert snapshot.series(*ALWAYS, []) == [make_labels("old")]
    (group,) = snapshot.select(*ALWAYS, [])
    assert group.values.tolist() == [[float(beat) for beat in range(10)]]
