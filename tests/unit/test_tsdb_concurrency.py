"""One writer and many reading threads: every snapshot is right, whatever is sealed, merged and dropped meanwhile."""

import random
import sys
import threading
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from prom_probe.model.family import column
from prom_probe.model.labels import label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.tsdb.store import Outcome, Snapshot, Store, StoreOptions
from tests.unit.tsdb_tools import ALWAYS, COUNTER, GAUGE, row

_READERS = 8
_BEATS = 2500
_WIDTH = 12


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads take turns every 50 µs, so that readers see the writer in the middle of things."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def _value(i: int, beat: int) -> float:
    """What series `i` has at a beat: every third one is no decimal."""
    return beat * (i + 1) / 3 if i % 3 == 0 else float(beat * (i + 1))


def _check(snapshot: Snapshot, rng: random.Random) -> int:
    """Read one random selection of the snapshot twice, compare it with the formula; gives the samples seen."""
    matchers = [rng.choice([Matcher("i", "=", str(rng.randrange(_WIDTH))), Matcher("i", "!~", "3|")])]
    mint = rng.randrange(_BEATS) * 1000
    maxt = mint + rng.randrange(1, 500) * 1000
    seen = 0
    first = list(snapshot.select(mint, maxt, matchers, batch=5))
    for group in first:
        beats = group.timestamps // 1000
        assert (beats[1:] - beats[:-1] == 1).all(), "no beat is missing, none comes twice"
        for labels, values in zip(group.labels, group.values, strict=True):
            i = int(label_value(labels, "i"))
            assert values.tolist() == [_value(i, beat) for beat in beats.tolist()]
            seen += len(values)
    again = list(snapshot.select(mint, maxt, matchers, batch=5))
    assert [group.timestamps.tolist() for group in again] == [group.timestamps.tolist() for group in first]
    assert [group.labels for group in again] == [group.labels for group in first]
    count = snapshot.count(mint, maxt, matchers)
    assert count[1] == seen and count[0] == sum(len(group.labels) for group in first)
    return seen


@pytest.mark.usefixtures("quick_switches")
def test_readers_see_a_consistent_store() -> None:
    """Eight threads read while rows, general appends, new layouts, sealing, merging and retention go on."""
    store = Store(StoreOptions(retention_ms=1_200_000, decode_cache_bytes=100_000))
    columns = [column(COUNTER if i % 2 else GAUGE, i=str(i)) for i in range(_WIDTH)]
    store.announce("c", 0, 0, columns)
    done = threading.Event()
    failures: list[BaseException] = []
    read = [0] * _READERS

    def reader(number: int) -> None:
        rng = random.Random(number)
        try:
            while not done.is_set() and not failures:
                snapshot = store.snapshot()
                for _ in range(3):
                    read[number] += _check(snapshot, rng)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(_READERS)]
    with patch("prom_probe.tsdb.run.MAX_ROWS", 16), patch("prom_probe.tsdb.loose.MAX_ROWS", 16):
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
            assert outcome is Outcome.APPENDED
            for i in range(_WIDTH, _WIDTH + 3):
                store.append(make_labels("loose", {"i": str(i)}), beat * 1000, _value(i, beat))
            store.append(make_labels("brief", {"beat": str(beat // 50)}), beat * 1000, 1.0)
            store.maintain(beat * 1000, 0.0002)
            if failures:
                break
        done.set()
        for thread in threads:
            thread.join(60)
    assert not failures, failures[0]
    assert all(read)
    assert store.stats().series < _WIDTH + 3 + _BEATS // 50, "series without samples have left"
    assert len(store.snapshot().label_values("beat", *ALWAYS, [])) < _BEATS // 50


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
