"""The store, compared with a model of plain lists, and its promises one by one."""

import math
import warnings
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.family import Column, Family, column
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.sample import STALE
from prom_probe.tsdb.store import AppendOutcome, LayoutError, Store, StoreOptions
from tests.support.tsdb_tools import (
    ALWAYS,
    COUNTER,
    GAUGE,
    Samples,
    bits,
    drain,
    filled,
    gauges,
    local,
    row,
    samples_of,
)

pytestmark = pytest.mark.filterwarnings("error")

_HOUR = 3_600_000


@dataclass
class _Line:
    """One timeline: what was written, in order, between steps back of the clock."""

    eras: list[list[tuple[int, dict[Labels, float]]]] = field(default_factory=list)

    def write(self, t_ms: int, values: dict[Labels, float]) -> None:
        if not self.eras or t_ms < self.eras[-1][-1][0]:
            self.eras.append([])
        elif t_ms == self.eras[-1][-1][0]:
            return
        self.eras[-1].append((t_ms, values))

    def read(self) -> Samples:
        """What was written later takes precedence, from its first timestamp to its last."""
        out: Samples = {}
        covers: list[tuple[int, int]] = []
        for era in reversed(self.eras):
            for t_ms, values in era:
                if not any(first <= t_ms <= last for first, last in covers):
                    for labels, value in values.items():
                        out.setdefault(labels, []).append((t_ms, bits(value)))
            covers.append((era[0][0], era[-1][0]))
        return {labels: sorted(samples) for labels, samples in out.items()}


_VALUES = st.one_of(
    st.integers(-5, 1000).map(float),
    st.integers(0, 10000).map(lambda n: n / 100),
    st.floats(width=64),
    st.none(),
)
_ROW = st.lists(_VALUES, max_size=6)
_STEP = st.one_of(st.just(1000), st.integers(995, 1005), st.integers(1, 50_000), st.integers(-60_000, -1))
_OPERATION = st.one_of(
    st.tuples(st.just("row"), _STEP, _ROW),
    st.tuples(st.just("rows"), st.integers(1, 20), _ROW),
    st.tuples(st.just("grow"), st.integers(0, 5)),
    st.tuples(st.just("compact"), st.integers(0, 5)),
    st.tuples(st.just("restart"), st.integers(0, 5)),
    st.tuples(st.just("stale"), _STEP),
    st.tuples(st.just("appended"), st.lists(st.tuples(st.integers(0, 3), st.floats()), min_size=1, max_size=6)),
    st.tuples(st.just("maintain"), st.sampled_from([0.0, 10.0])),
)


class _Pair:
    """Does the same to the store and to the model."""

    def __init__(self) -> None:
        self.store = Store()
        self.line = _Line()
        self.appended_lines: dict[Labels, _Line] = {}
        self.columns = gauges(3)
        self.layout = 0
        self.names = iter(range(100, 10_000))
        self.t_ms = 1_000_000
        self.silent = True
        self.store.announce("c", 0, 0, self.columns)

    def row(self, step: int, values: list[float | None]) -> None:
        self.t_ms += step
        there = values[: len(self.columns)]
        assert self.store.append_row("c", self.layout, self.t_ms, row(there)) is AppendOutcome.APPENDED
        pairs = zip(self.columns, there, strict=False)
        self.line.write(self.t_ms, {c.labels: v for c, v in pairs if v is not None and bits(v) != bits(STALE)})
        self.silent = not there

    def rows(self, count: int, values: list[float | None]) -> None:
        for i in range(count):
            self.row(1000, [None if value is None else value + i for value in values])

    def grow(self, count: int) -> None:
        fresh = [column(GAUGE, i=str(next(self.names))) for _ in range(count)]
        self.store.announce("c", self.layout, len(self.columns), fresh)
        self.columns = self.columns + fresh

    def compact(self, keep: int) -> None:
        self.columns = self.columns[len(self.columns) - keep :]
        self.layout += 1
        self.store.announce("c", self.layout, 0, self.columns)

    def restart(self, keep: int) -> None:
        self.columns = [*self.columns[:keep], column(GAUGE, i=str(next(self.names)))]
        self.store.announce("c", self.layout, 0, self.columns)

    def stale(self, step: int) -> None:
        self.store.mark_stale("c", self.t_ms + step)
        if not self.silent:
            self.t_ms += step
            self.line.write(self.t_ms, {})
            self.silent = True

    def appended(self, samples: list[tuple[int, float]]) -> None:
        for i, value in samples:
            labels = make_labels("appended", {"i": str(i)})
            line = self.appended_lines.setdefault(labels, _Line())
            t_ms = 1000 * (1 + len(line.eras[0]) if line.eras else 1)
            assert self.store.append(labels, t_ms, value) is AppendOutcome.APPENDED
            line.write(t_ms, {labels: value} if bits(value) != bits(STALE) else {})

    def maintain(self, budget_s: float) -> None:
        self.store.maintain(self.t_ms, budget_s)

    def expected(self, mint: int, maxt: int) -> Samples:
        samples = self.line.read()
        for line in self.appended_lines.values():
            samples |= line.read()
        within = {k: [sample for sample in v if mint <= sample[0] <= maxt] for k, v in samples.items()}
        return {k: v for k, v in within.items() if v}


@given(st.lists(_OPERATION, max_size=40), st.lists(st.integers(900_000, 1_200_000), min_size=2, max_size=2))
@settings(max_examples=150)
def test_store_gives_what_a_plain_list_would(operations: list[tuple[str, object]], ends: list[int]) -> None:
    """Whatever is announced, appended, repeated and compacted: `select` returns exactly what was written."""
    with patch("prom_probe.tsdb.row_head.MAX_ROWS", 8), patch("prom_probe.tsdb.appended.MAX_ROWS", 4):
        pair = _Pair()
        early = None
        for number, (name, *arguments) in enumerate(operations):
            getattr(pair, name)(*arguments)
            if number == len(operations) // 2:  # not read before the end
                early = (pair.store.snapshot(), pair.expected(*ALWAYS))
            else:
                assert samples_of(pair.store.snapshot(), batch=number % 3 + 1) == pair.expected(*ALWAYS), name
        assert samples_of(pair.store.snapshot(), batch=2) == pair.expected(*ALWAYS)
        mint, maxt = sorted(ends)
        assert samples_of(pair.store.snapshot(), mint, maxt) == pair.expected(mint, maxt)
        drain(pair.store, pair.t_ms)
        assert samples_of(pair.store.snapshot()) == pair.expected(*ALWAYS)
        if early is not None:
            assert samples_of(early[0]) == early[1], "a snapshot does not change"


def test_rows_of_a_growing_layout_read_as_absent_before() -> None:
    """A column that was announced later has no samples before that; the group has markers there."""
    store = filled([(1000, [1.0]), (2000, [2.0])], gauges(1))
    store.announce("c", 0, 1, gauges(2)[1:])
    store.append_row("c", 0, 3000, row([3.0, 30.0]))
    (group,) = store.snapshot().select(0, 10_000, [])
    assert [one.tobytes() for one in group.values[1]] == [bits(STALE), bits(STALE), bits(30.0)]
    assert not group.dense


def test_announcements_out_of_place_are_refused_by_name() -> None:
    """The error for a gap, or for a layout that begins in its middle, names the collector and what is known."""
    store = Store()
    with pytest.raises(LayoutError, match="c: layout 0 is announced from column 2 on, but 0 are known"):
        store.announce("c", 0, 2, gauges(1))
    store.announce("c", 0, 0, gauges(2))
    with pytest.raises(LayoutError, match="layout 1"):
        store.announce("c", 1, 2, gauges(1))
    assert store.knows("c", 0) and not store.knows("c", 1) and not store.knows("d", 0)


@pytest.mark.parametrize(
    "labels",
    [(("b", "1"), ("a", "2")), (("a", "1"), ("a", "2")), (("a", ""),), (("", "x"),), (), ((1, "x"),), "ab", None],
    ids=repr,
)
def test_invalid_labels_are_refused(labels: Labels) -> None:
    """Unsorted, repeated, empty or not text: the announcement is an error that names them, the append MALFORMED."""
    store = Store()
    with pytest.raises(LayoutError, match="c: labels that are unsorted, repeated, empty or not text"):
        store.announce("c", 0, 0, [*gauges(1), Column(GAUGE, labels)])
    assert store.append(labels, 0, 1.0) is AppendOutcome.MALFORMED
    assert store.stats().series == 0


def test_repeated_announcements_change_nothing() -> None:
    """Columns that are announced again are the same columns, and do not close the head."""
    store = filled([(1000, [1.0, 2.0])], gauges(2))
    store.announce("c", 0, 0, gauges(2))
    store.announce("c", 0, 0, gauges(1))
    store.announce("c", 0, 1, gauges(3)[1:])
    store.append_row("c", 0, 2000, row([1.0, 2.0, 3.0]))
    assert store.stats().pieces == 1
    assert len(store.newest()[0].columns) == 3


@pytest.mark.parametrize(
    ("layout", "t_ms", "payload", "outcome"),
    [
        (0, 3000, row([1.0, 2.0]), AppendOutcome.APPENDED),
        (0, 3000, row([1.0]), AppendOutcome.APPENDED),
        (0, 3000, b"", AppendOutcome.APPENDED),
        (0, 2000, row([9.0, 9.0]), AppendOutcome.DUPLICATE),
        (0, 1000, row([1.0, 2.0]), AppendOutcome.DUPLICATE),
        (1, 3000, row([1.0, 2.0]), AppendOutcome.UNKNOWN_LAYOUT),
        (0, 3000, row([1.0, 2.0, 3.0]), AppendOutcome.MALFORMED),
        (0, 3000, b"1234567", AppendOutcome.MALFORMED),
        (0, 1 << 60, row([1.0]), AppendOutcome.MALFORMED),
    ],
)
def test_rows_have_distinct_outcomes(layout: int, t_ms: int, payload: bytes, outcome: AppendOutcome) -> None:
    """Each way to refuse a row has a name and is counted."""
    store = filled([(1000, [1.0, 2.0]), (2000, [1.5, 2.5])], gauges(2))
    before = store.stats()
    assert store.append_row("c", layout, t_ms, payload) is outcome
    after = store.stats()
    if outcome is AppendOutcome.APPENDED:
        assert after.appended == before.appended + len(payload) // 8
    else:
        assert after.rejected == {outcome.value: max(len(payload) // 8, 1)}
        assert after.samples == before.samples
    assert store.append_row("nobody", 0, 0, b"") is AppendOutcome.UNKNOWN_LAYOUT


@pytest.mark.parametrize(
    ("t_ms", "value", "outcome"),
    [
        (10_001, 1.0, AppendOutcome.APPENDED),
        (10_000, 7.0, AppendOutcome.DUPLICATE),
        (10_000, 1.0, AppendOutcome.CONFLICT),
        (9_999, 7.0, AppendOutcome.OUT_OF_ORDER),
        (-6 * _HOUR, 7.0, AppendOutcome.TOO_OLD),
        (1 << 60, 7.0, AppendOutcome.MALFORMED),
    ],
)
def test_general_appends_have_distinct_outcomes(t_ms: int, value: float, outcome: AppendOutcome) -> None:
    """Out of order, duplicate and too old are told apart."""
    store = Store()
    labels = make_labels("x")
    store.maintain(10_000)
    assert store.append(labels, 10_000, 7.0) is AppendOutcome.APPENDED
    assert store.append(labels, t_ms, value) is outcome
    assert store.stats().rejected == ({} if outcome is AppendOutcome.APPENDED else {outcome.value: 1})


def test_a_dead_probe_ends_its_series() -> None:
    """`mark_stale` writes a marker for all series of the collector, once, and `/metrics` shows none of them."""
    store = filled([(1000, [1.0, 2.0])], gauges(2))
    store.mark_stale("c", 4000)
    store.mark_stale("c", 5000)
    store.mark_stale("nobody", 5000)
    (group,) = store.snapshot().select(0, 10_000, [])
    assert group.timestamps.tolist() == [1000, 4000]
    store.append_row("c", 0, 6000, row([1.0, 2.0]))
    store.mark_stale("c", 6000)
    (group,) = store.snapshot().select(5000, 10_000, [])
    assert group.timestamps.tolist() == [6000, 6001]
    assert [line[-1].tobytes() for line in group.values] == [bits(STALE)] * 2
    assert store.newest()[0].payload == b""


def test_a_snapshot_is_the_same_until_something_is_appended() -> None:
    """Then it is a new one; also after `maintain`, which may drop what the last one keeps alive."""
    store = filled([(1000, [1.0, 2.0])], gauges(2))
    shots = [store.snapshot()]
    assert store.snapshot() is shots[0]
    for change in (
        lambda: store.append_row("c", 0, 2000, row([1.0, 2.0])),
        lambda: store.append(make_labels("appended"), 2000, 1.0),
        lambda: store.announce("c", 0, 2, gauges(1)),
        lambda: store.mark_stale("c", 3000),
        lambda: store.maintain(3000),
        store.settle,
    ):
        change()
        shots.append(store.snapshot())
        assert store.snapshot() is shots[-1]
    assert len(set(map(id, shots))) == len(shots)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_series_counts_while_it_lasts(sealed: bool) -> None:
    """Series of a few rows each, one after the other, beside one that lasts; heads know when columns changed."""
    lives = [range(16 * i, 16 * i + i % 7 + 1) for i in range(32)]
    store = Store()
    for beat in range(512):
        i = beat // 16
        store.announce("c", i, 0, [local("lasts"), local(i)])
        store.append_row("c", i, 1000 * beat, row([beat, beat if beat in lives[i] else None]))
    if sealed:
        drain(store)
    brief = sum(len(life) + 1 for life in lives) if sealed else 32 * (16 + 1) - 1
    assert store.snapshot().count(*ALWAYS, []) == (33, 512 + brief)
    found = samples_of(store.snapshot(), 165_000, 403_000)
    assert len(found) == 16 and store.snapshot().count(165_000, 403_000, [])[0] == 17 - sealed
    for i, life in enumerate(lives):
        within = [(1000 * beat, bits(beat)) for beat in life if 165 <= beat <= 403]
        assert found.get(local(i).labels, []) == within


def test_newest_belongs_to_its_layout() -> None:
    """Announcing another layout does not rename the columns of the newest row."""
    store = filled([(1000, [1.0, 2.0])], gauges(2))
    store.announce("c", 1, 0, [column(COUNTER, a="b")])
    (newest,) = store.newest()
    assert (newest.collector, newest.layout, newest.t_ms) == ("c", 0, 1000)
    assert list(newest.columns) == gauges(2)
    store.append_row("c", 1, 2000, row([5.0]))
    assert [column.family for column in store.newest()[0].columns] == [COUNTER]


def test_a_series_continues_across_layouts_and_twins() -> None:
    """The same labels are the same series: in a new layout, and in a later column of the same layout."""
    one, two = gauges(2)
    store = filled([(1000, [1.0, 2.0])], [one, two])
    store.append_row("c", 0, 2000, row([None, 2.0]))
    store.announce("c", 0, 2, [one])
    store.append_row("c", 0, 3000, row([None, 2.0, 3.0]))
    store.announce("c", 1, 0, [two, one])
    store.append_row("c", 1, 4000, row([2.0, 4.0]))
    got = samples_of(store.snapshot())
    assert got[one.labels] == [(1000, bits(1.0)), (3000, bits(3.0)), (4000, bits(4.0))]
    assert [t for t, _ in got[two.labels]] == [1000, 2000, 3000, 4000]
    assert store.stats().series == 2


def test_series_past_the_two_thousand_millionth() -> None:
    """After months of processes that come and go, refs exceed 32 bits; sealing and merging still work."""
    store = Store()
    store._next_ref = (1 << 40) - 1
    wanted: Samples = {}
    for layout in range(3):
        columns = [local(f"{layout}/{i}") for i in range(3)]
        store.announce("c", layout, 0, columns)
        for t_ms in range(1000 * layout, 1000 * layout + 400):
            assert store.append_row("c", layout, t_ms, row([t_ms, t_ms % 7, 1.5])) == "appended"
            for one, value in zip(columns, (t_ms, t_ms % 7, 1.5), strict=True):
                wanted.setdefault(one.labels, []).append((t_ms, bits(value)))
    drain(store)
    assert store.stats().sealed > 1
    assert samples_of(store.snapshot()) == wanted


@pytest.mark.parametrize("fallen_to", [255, 100])
def test_a_counter_that_was_reset_between_two_blocks(fallen_to: int) -> None:
    """Both blocks rise, and the second one ends higher; together they rise only if nothing falls in between."""
    values = [*range(256), *range(fallen_to, fallen_to + 256)]
    columns = gauges(6)
    store = filled([(i * 1000, [float(value)] * 6) for i, value in enumerate(values)], columns)
    store.maintain(512_000, 10.0)
    assert store.stats().sealed == 2
    (group,) = store.snapshot().select(*ALWAYS, ())
    assert group.table.rising() == (fallen_to == 255)
    assert samples_of(store.snapshot())[columns[0].labels][256] == (256_000, bits(fallen_to))


def test_a_series_of_two_streams_comes_once() -> None:
    """A series of a collector that also has appended samples is one series, with all its samples in order."""
    one = gauges(1)[0]
    store = filled([(1000, [1.0]), (2000, [2.0]), (3000, [3.0]), (3500, [None]), (9000, [9.0])], [one])
    assert store.append(one.labels, 2500, 2.5) is AppendOutcome.APPENDED
    assert store.append(one.labels, 4000, 4.0) is AppendOutcome.APPENDED
    got = samples_of(store.snapshot())
    assert [t for t, _ in got[one.labels]] == [1000, 2000, 2500, 4000, 9000]
    assert store.snapshot().count(*ALWAYS, [])[0] == 1


def test_series_with_equal_timestamps_come_as_one_group() -> None:
    """Samples appended with the same timestamps share a timeline; others have one of their own."""
    store = Store()
    for t_ms in range(0, 5000, 1000):
        for i in range(10):
            store.append(make_labels("x", {"i": str(i)}), t_ms, float(i))
    store.append(make_labels("y"), 123, 1.0)
    groups = list(store.snapshot().select(*ALWAYS, []))
    assert sorted(len(group.labels) for group in groups) == [1, 10]


@pytest.mark.parametrize("step_ms", [-5 * _HOUR, -1, -999, 9 * _HOUR], ids=lambda step: f"{step / 1000:g}s")
def test_clock_steps_neither_drop_nor_wedge_the_store(step_ms: int) -> None:
    """After a step by hours, in either direction, rows and samples are taken, and older ones stay readable."""
    store = Store(StoreOptions(retention_ms=6 * _HOUR))
    store.announce("c", 0, 0, gauges(1))
    appended = make_labels("appended")
    start = 100 * _HOUR
    now = start

    def beat() -> None:
        store.maintain(now)
        assert store.append_row("c", 0, now, row([float(now)])) is AppendOutcome.APPENDED
        outcomes.append(store.append(appended, now, float(now)))

    outcomes: list[AppendOutcome] = []
    for _ in range(600):
        now += 1000
        beat()
    now += step_ms
    after = now + 1000
    for _ in range(600):
        now += 1000
        beat()
    got = [t for t, _ in samples_of(store.snapshot())[gauges(1)[0].labels]]
    kept = [t for i in range(1, 601) if not after <= (t := start + 1000 * i) <= now]
    assert [t for t in got if not after <= t <= now] == kept
    assert [t for t in got if after <= t <= now] == list(range(after, now + 1, 1000))
    assert len(samples_of(store.snapshot())[appended]) == outcomes.count(AppendOutcome.APPENDED)
    if abs(step_ms) > _HOUR:
        assert outcomes == [AppendOutcome.APPENDED] * 1200


def test_retention_by_time_counts_lived_time() -> None:
    """Pieces older than the retention are dropped with their series; newer ones stay."""
    store = Store(StoreOptions(retention_ms=_HOUR))
    store.announce("c", 0, 0, [local("old")])
    for beat in range(2 * 3600):
        if beat == 1800:
            store.announce("c", 1, 0, [local("new")])
        now = beat * 1000
        store.append_row("c", store.newest()[0].layout if beat not in (0, 1800) else beat // 1800, now, row([1.0]))
        store.maintain(now)
    drain(store, now)
    got = samples_of(store.snapshot())
    assert list(got) == [local("new").labels]
    first = got[local("new").labels][0][0]
    assert now - _HOUR * 1.13 <= first <= now - _HOUR
    assert store.stats().series == 1
    assert store.snapshot().label_values("i", *ALWAYS, []) == ["new"]


def test_retention_by_bytes_holds_the_limit() -> None:
    """The bytes stay within the limit and near it, and the newest samples are there."""
    store = Store(StoreOptions(retention_bytes=300_000))
    columns = gauges(20)
    store.announce("c", 0, 0, columns)
    for beat in range(5000):
        store.append_row("c", 0, beat * 1000, row([beat * 1.1 + i for i in range(20)]))
        for i in range(3):
            store.append(make_labels("x", {"i": str(i)}), beat * 1000, beat * 0.7 * i)
        store.maintain(beat * 1000)
        assert store.stats().bytes <= 300_000
        assert not store.stats().dropped or store.stats().bytes > 200_000, "what has room remains"
    got = samples_of(store.snapshot())
    assert got[columns[0].labels][-1][0] == got[make_labels("x", {"i": "0"})][-1][0] == 4999 * 1000


def test_series_cap_evicts_ended_local_series_first() -> None:
    """Exposed series always fit; ended local ones are evicted; what still has no room is refused and counted."""
    store = Store(StoreOptions(max_series=10))
    store.announce("c", 0, 0, [*gauges(4), *(local(f"a{i}") for i in range(6))])
    store.append_row("c", 0, 1000, row([1.0] * 10))
    store.announce("c", 0, 10, [local("b0"), local("b1")])
    store.append_row("c", 0, 2000, row([1.0] * 12))
    assert store.stats().rejected == {"series_limit": 2}
    assert store.append(make_labels("x"), 0, 1.0) is AppendOutcome.SERIES_LIMIT

    store.append_row("c", 0, 3000, row([None] * 4 + [None, None, 1.0, 1.0, 1.0, 1.0]))
    for now in range(0, 20_000, 1000):
        store.maintain(now)
    store.announce("d", 0, 0, [local("d0"), column(GAUGE, i="exposed")])
    store.append_row("d", 0, 3000, row([1.0, 1.0]))
    left = store.snapshot().label_values("i", *ALWAYS, [Matcher("i", "!~", "[0-3]")])
    assert left == ["a1", "a2", "a3", "a4", "a5", "d0", "exposed"]
    store.announce("e", 0, 0, gauges(30))
    assert store.stats().series > 30


def test_a_series_that_came_back_is_not_evicted() -> None:
    """A series that was announced again since the list of ended ones was made is not evicted."""
    store = Store(StoreOptions(max_series=4))
    store.announce("c", 0, 0, [local(f"a{i}") for i in range(4)])
    store.append_row("c", 0, 1000, row([1.0] * 4))
    store.append_row("c", 0, 2000, row([None] * 4))
    for now in range(0, 20_000, 1000):
        store.maintain(now)
    store.announce("d", 0, 0, [local("d0")])
    assert store.snapshot().label_values("i", *ALWAYS, []) == ["a1", "a2", "a3"]
    store.announce("c", 0, 4, [local("a1")])
    store.append_row("c", 0, 3000, row([None] * 4 + [1.0]))
    store.announce("d", 0, 1, [local("d1")])
    store.append_row("d", 0, 3000, row([1.0, 1.0]))
    assert store.snapshot().label_values("i", *ALWAYS, []) == ["a1", "a3", "d0", "d1"]


def test_series_are_listed_by_time() -> None:
    """Series, label names and values without samples in the range are not listed."""
    store = filled([(1000, [1.0, None]), (2000, [1.0, None]), (3000, [None, 1.0])], gauges(2))
    store.append(make_labels("late", {"zone": "z"}), 9000, 1.0)
    drain(store)
    snapshot = store.snapshot()
    assert snapshot.series(8000, 10_000, []) == [make_labels("late", {"zone": "z"})]
    assert snapshot.label_names(0, 8000, []) == ["__name__", "i"]
    assert snapshot.label_values("i", 8000, 10_000, []) == []
    assert snapshot.series(20_000, 30_000, []) == []


def test_refused_columns_get_room_when_there_is_some() -> None:
    """A column that was refused gets its series once another one can be evicted."""
    store = Store(StoreOptions(max_series=2))
    store.announce("a", 0, 0, [local("a0"), local("a1")])
    store.append_row("a", 0, 0, row([1.0, 1.0]))
    store.announce("b", 0, 0, [local("b0")])
    for beat in range(600):
        store.append_row("b", 0, beat * 1000, row([1.0]))
        if beat == 100:
            store.append_row("a", 0, beat * 1000, row([None, 1.0]))
        store.maintain(beat * 1000)
    got = samples_of(store.snapshot())
    assert local("b0").labels in got and local("a0").labels not in got
    assert got[local("b0").labels][-1][0] == 599_000


def test_families_come_once() -> None:
    """`/api/v1/metadata` sees each family of the layouts once."""
    store = filled([(0, [1.0])], gauges(1))
    store.announce("d", 0, 0, [*gauges(2), column(COUNTER)])
    assert list(store.families()) == [GAUGE, COUNTER]
    assert isinstance(next(iter(store.families())), Family)


def test_staleness_bits_warn_nobody() -> None:
    """Signalling NaNs go through reading without a floating-point warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = filled([(1000, [1.0, None]), (2000, [None, 2.0])], gauges(2))
        assert len(samples_of(store.snapshot())) == 2


@pytest.mark.parametrize(
    ("stored", "given", "outcome"),
    [
        (5.0, 5.0, AppendOutcome.DUPLICATE),
        (5.0, 6.0, AppendOutcome.CONFLICT),
        (5.0, math.nan, AppendOutcome.CONFLICT),
        (math.nan, math.nan, AppendOutcome.DUPLICATE),
        (math.nan, STALE, AppendOutcome.CONFLICT),
        (STALE, STALE, AppendOutcome.DUPLICATE),
        (0.0, -0.0, AppendOutcome.CONFLICT),
    ],
)
def test_a_duplicate_has_the_same_bits(stored: float, given: float, outcome: AppendOutcome) -> None:
    """A second sample at a series' newest timestamp is a duplicate or a conflict."""
    store = Store()
    labels = make_labels("x")
    assert store.append(labels, 1000, stored) is AppendOutcome.APPENDED
    assert store.append(labels, 1000, given) is outcome
