"""The feed: whoever follows it to the end has every sample of the store once, and a marker at each end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.config.selector import parse_selector
from prom_probe.config.sources import make_config
from prom_probe.model.family import Column, column
from prom_probe.model.sample import STALE_BYTES
from prom_probe.remote.feed import SampleFeed, SeriesChoice, make_choices
from prom_probe.remote.feed_protocol import MAX_ANSWER_BYTES, CursorFields, FeedAnswer, FeedRequest, encode
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.tsdb_tools import GAUGE, bits, filled, gauges, local, row, samples_of

START_MS = 1_700_000_000_000

Followed = dict[int, list[tuple[int, bytes]]]


class Follower:
    """Asks with small answers until there is nothing more; forgets some answers, as a killed sender does."""

    def __init__(self, feed: SampleFeed, samples: int, *, start_ms: int = 0, forget_every: int = 0) -> None:
        self._feed = feed
        self._samples = samples
        self._start_ms = start_ms
        self._forget_every = forget_every
        self.cursors: dict[str, CursorFields] = {}
        self.labels: dict[int, object] = {}
        self.found: Followed = {}
        self.lost_ms = 0
        self._asked = 0

    def ask(self, *, last: bool = False, samples: int = 0, limits: dict[str, CursorFields] | None = None) -> FeedAnswer:
        self._asked += 1
        most = samples or self._samples
        request = FeedRequest(self._asked, 1, 0, self.cursors, self._start_ms, most, last, limits=limits or {})
        answer = self._feed.answer(request)
        assert sum(len(times) for _, times, _ in answer.series) <= max(request.samples, 256)
        assert len(encode(answer)) < MAX_ANSWER_BYTES
        self.labels |= dict(answer.labels)
        return answer

    def follow(self, *, last: bool = False, limits: dict[str, CursorFields] | None = None) -> None:
        while True:
            answer = self.ask(last=last, limits=limits)
            if self._forget_every and self._asked % self._forget_every == 0:
                continue
            self.take(answer)
            if not answer.more and not answer.series:
                return

    def take(self, answer: FeedAnswer) -> None:
        """Move the cursors behind the answer."""
        self.cursors = {**self.cursors, **answer.cursors}
        self.lost_ms = max(self.lost_ms, answer.lost_ms)
        for ref, times, values in answer.series:
            some = [values[i : i + 8] for i in range(0, len(values), 8)]
            self.found.setdefault(ref, []).extend(zip(times, some, strict=True))

    def by_labels(self, *, markers: bool) -> dict[Any, list[tuple[int, bytes]]]:
        found: dict[Any, list[tuple[int, bytes]]] = {}
        for ref, samples in self.found.items():
            times = [t_ms for t_ms, _ in samples]
            assert times == sorted(set(times)), "in time order, each once"
            kept = [one for one in samples if markers or one[1] != STALE_BYTES]
            if kept:
                found[self.labels[ref]] = kept
        return dict(sorted(found.items()))


def everything(store: Store) -> SampleFeed:
    """A feed that gives all series in full."""
    return feed_of(store, SeriesChoice(15_000, [parse_selector('{__name__=~".+"}')], 0))


def feed_of(store: Store, choice: SeriesChoice, drain: Callable[[], None] = lambda: None) -> SampleFeed:
    """A feed with all the time that it needs."""
    return SampleFeed(store, [choice], drain, clock=lambda: 0.0)


def expected_markers(rows: list[tuple[int, list[float | None]]], series: int) -> list[int]:
    """When a column's series ended: at the first row without it."""
    ends, present = [], False
    for t_ms, values in rows:
        there = series < len(values) and values[series] is not None
        if present and not there:
            ends.append(t_ms)
        present = there
    return ends


values = st.lists(st.none() | st.floats(allow_nan=True), min_size=0, max_size=4)
gaps = st.integers(1, 4_000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(gaps, values), min_size=1, max_size=60),
    st.integers(1, 20),
    st.sampled_from([0, 2, 3]),
    st.sets(st.integers(0, 60), max_size=4),
)
def test_every_sample_once(
    steps: list[tuple[int, list[float | None]]], samples: int, forget_every: int, closings: set[int]
) -> None:
    """However small the answers, whatever was sealed meanwhile, and whichever answers are lost."""
    rows, t_ms = [], START_MS
    for gap, row_values in steps:
        t_ms += gap
        rows.append((t_ms, row_values))
    store = Store(StoreOptions())
    store.announce("c", 0, 0, gauges(4))
    follower = Follower(everything(store), samples, forget_every=forget_every)
    for i, (t, row_values) in enumerate(rows):
        store.append_row("c", 0, t, row(row_values))
        if i in closings:
            for stream in store.collector_streams():
                stream.close()
            store.settle(1.0)
            follower.ask()  # a window that is begun before a seal goes on after it
    follower.follow()
    assert follower.by_labels(markers=False) == samples_of(store.snapshot())
    for ref, found in follower.found.items():
        series = int(dict(follower.labels[ref])["i"])  # type: ignore[call-overload]
        markers = [t for t, value in found if value == STALE_BYTES]
        assert markers == expected_markers(rows, series)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.none() | st.floats(), min_size=4, max_size=4), min_size=2, max_size=8),
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(0, 5),
    st.sampled_from([1, 5, 1000]),
)
def test_up_to_a_limit(rows: list[list[float | None]], most: int, asks: int, more: int, smaller: int) -> None:
    """The same samples as were read to it the first time, whatever has come since, in parts of any size."""
    store = Store()
    store.announce("c", 0, 0, gauges(4))
    times = [START_MS + 1000 * i for i in range(len(rows))]
    first = Follower(everything(store), most)
    for t_ms, values in zip(times, rows, strict=True):
        store.append_row("c", 0, t_ms, row(values))
    for _ in range(asks):
        answer = first.ask()
        first.take(answer)
    for i in range(more):
        store.append_row("c", 0, times[-1] + 1000 * (i + 1), row([7.0, None, 7.0, 7.0]))
    again = Follower(everything(store), smaller)
    if not first.cursors:
        return
    again.follow(limits=first.cursors)
    assert again.by_labels(markers=True) == first.by_labels(markers=True)
    first.follow()
    again.follow()
    assert again.by_labels(markers=True) == first.by_labels(markers=True)


def test_streams_go_on_side_by_side() -> None:
    """After a long outage no sample is sent more than twenty minutes behind another: receivers may refuse that."""
    store = Store()
    for stream, name in enumerate("ab"):
        store.announce(name, 0, 0, [column(GAUGE, i=f"{name}{n}") for n in range(5)])
        for i in range(720):
            store.append_row(name, 0, START_MS + 15_000 * i + stream, row([1.0, 2.0, 3.0, 4.0, 5.0]))
    follower = Follower(everything(store), 2000)
    newest_ms = 0
    while (answer := follower.ask()).series:
        for _, times, _ in answer.series:
            assert times[0] > newest_ms - 1_200_000
        newest_ms = max([newest_ms, *(times[-1] for _, times, _ in answer.series)])
        follower.take(answer)
    assert follower.by_labels(markers=False) == samples_of(store.snapshot())


def test_series_that_go_on_after_their_end_was_begun() -> None:
    """The aggregator measures itself while the end is sent: what is left of the markers is not waited for."""
    store = filled([(START_MS, [1.0, 2.0])], gauges(2))
    follower = Follower(everything(store), 1)
    follower.follow()
    follower.take(follower.ask(last=True, samples=1))
    store.append_row("c", 0, START_MS + 1000, row([3.0, 4.0]))
    follower.follow(last=True)
    ends = [samples[-2:] for samples in follower.by_labels(markers=True).values()]
    assert ends == [[(START_MS + 1000, bits(v)), (START_MS + 1001, STALE_BYTES)] for v in (3, 4)]


def test_what_is_skipped() -> None:
    """Only what is more than a moment old: the answer begins at the newest row, and says what it left."""
    store = filled([(START_MS + 1000 * i, [float(i)]) for i in range(100)], gauges(1))
    feed = everything(store)
    for after, skipped in ((50, 98), (67, 98), (68, None), (98, None)):
        cursors = {"f:c": (START_MS + 1000 * after, START_MS + 1000 * after, 0)}
        answer = feed.answer(FeedRequest(1, 1, 0, cursors, 0, 1000, skip=True))
        limit = (START_MS + 1000 * (skipped or 0),) * 2 + (0,)
        assert answer.skipped.get("f:c") == ((cursors["f:c"], limit) if skipped else None)
        assert answer.series[0][1][0] == START_MS + 1000 * ((skipped or after) + 1)


def test_a_gap_of_which_a_part_was_dropped() -> None:
    """That part is counted, and no more than the gap is long; one that was dropped as a whole is done."""
    store = Store(StoreOptions(retention_ms=600_000))
    store.announce("c", 0, 0, gauges(1))
    for i in range(3_000):
        store.append_row("c", 0, START_MS + 1000 * i, row([float(i)]))
        if i % 100 == 0:
            store.maintain(START_MS + 1000 * i, 1.0)
    store.maintain(START_MS + 3_000_000, 1.0)
    left_ms = next(iter(samples_of(store.snapshot()).values()))[0][0]
    for until_ms, lost_ms in ((START_MS + 500_000, 500_000), (left_ms + 5000, left_ms - START_MS)):
        limits = {"f:c": (until_ms, until_ms, 0)}
        answer = everything(store).answer(
            FeedRequest(1, 1, 0, {"f:c": (START_MS, START_MS, 0)}, 0, 1000, limits=limits)
        )
        assert (answer.lost_ms, answer.cursors) == (lost_ms, limits)
        assert sum(len(times) for _, times, _ in answer.series) == max(0, (until_ms - left_ms) // 1000 + 1)


def test_an_end_behind_a_row_that_is_gone() -> None:
    """An aggregator that is killed may lose its last rows, which were sent: what ended then gets its marker."""
    rows: list[tuple[int, list[float | None]]] = [(START_MS, [1.0, 2.0]), (START_MS + 3000, [1.0, None])]
    follower = Follower(everything(filled(rows, gauges(2))), 100)
    follower.cursors = {"f:c": (START_MS + 1000, START_MS + 1000, 0)}
    follower.follow()
    assert list(follower.by_labels(markers=True).values()) == [
        [(START_MS + 3000, bits(1))],
        [(START_MS + 3000, STALE_BYTES)],
    ]


def test_an_hour_sealed_and_merged() -> None:
    """What lies in blocks comes as what lies in the head does, bit for bit, in every window."""
    store = Store()
    store.announce("c", 0, 0, gauges(3))
    for i in range(3_600):
        store.append_row("c", 0, START_MS + 1000 * i, row([i, i * 0.1, None if i % 7 else -i]))
        if i % 300 == 0:
            store.settle(1.0)
    while store.settle(1.0):
        pass
    assert len(store.blocks()) > 1
    follower = Follower(everything(store), 500)
    follower.follow()
    assert follower.by_labels(markers=False) == samples_of(store.snapshot())


def test_at_the_interval_the_first_row_of_each() -> None:
    """Exposed series alone, and an end is told at the first such row that lacks the series."""
    rows = [(START_MS + 1000 * i, [float(i), None if i >= 40 else 1.0, 7.0]) for i in range(61)]
    store = filled(rows, [*gauges(2), local("secret")])
    follower = Follower(feed_of(store, SeriesChoice(15_000, [], START_MS % 15_000 + 5_000)), 1000)
    follower.follow()
    wanted = [0, 5, 20, 35, 50]
    steady, ending = follower.by_labels(markers=True).values()
    assert steady == [(START_MS + 1000 * i, bits(i)) for i in wanted]
    assert ending == [(START_MS + 1000 * i, bits(1)) for i in wanted[:-1]] + [(START_MS + 50_000, STALE_BYTES)]


def test_a_selector_gives_all_samples_and_local_series() -> None:
    """Those of /metrics come at the interval beside it; none comes twice."""
    rows = [(START_MS + 1000 * i, [float(i), 1.0]) for i in range(31)]
    store = filled(rows, [*gauges(1), local("detail")])
    choice = SeriesChoice(15_000, [parse_selector('g{i="detail"}')], START_MS % 15_000)
    follower = Follower(feed_of(store, choice), 1000)
    follower.follow()
    found = {dict(labels)["i"]: [t for t, _ in samples] for labels, samples in follower.by_labels(markers=True).items()}
    assert found == {
        "0": [START_MS, START_MS + 15_000, START_MS + 30_000],
        "detail": [START_MS + 1000 * i for i in range(31)],
    }


@pytest.mark.parametrize("samples", [1, 2, 1000])
def test_the_end_of_a_run(samples: int) -> None:
    """The newest row, then a marker a millisecond later for each series that has not ended; nothing after that."""
    rows = [(START_MS + 1000 * i, [float(i), None if i > 3 else 1.0, 2.0]) for i in range(8)]
    store = filled(rows, gauges(3))
    feed = feed_of(store, SeriesChoice(15_000, [], START_MS % 15_000))
    follower = Follower(feed, samples)
    follower.follow()
    follower.follow(last=True)
    first, ended, other = follower.by_labels(markers=True).values()
    last_ms = START_MS + 7000
    assert first == [(START_MS, bits(0)), (last_ms, bits(7)), (last_ms + 1, STALE_BYTES)]
    assert ended == [(START_MS, bits(1)), (last_ms, STALE_BYTES)]
    assert other == [(START_MS, bits(2)), (last_ms, bits(2)), (last_ms + 1, STALE_BYTES)]
    assert follower.ask(last=True).series == []


def test_the_end_takes_what_waits_in_the_rings() -> None:
    """The last collection may still lie there."""
    store = filled([(START_MS, [1.0])], gauges(1))

    def drain() -> None:
        store.append_row("c", 0, START_MS + 1000, row([2.0]))

    feed = feed_of(store, SeriesChoice(1, [], 0), drain)
    answer = feed.answer(FeedRequest(1, 1, 0, {}, 0, 100, last=True))
    assert [times for _, times, _ in answer.series] == [[START_MS, START_MS + 1000], [START_MS + 1001]]


def test_nothing_before_the_start() -> None:
    """What an earlier run left on the disk is not sent to a receiver that is new."""
    store = filled([(START_MS + 1000 * i, [float(i)]) for i in range(5)], gauges(1))
    follower = Follower(everything(store), 100, start_ms=START_MS + 2000)
    follower.follow()
    assert list(follower.by_labels(markers=True).values()) == [[(START_MS + 3000, bits(3)), (START_MS + 4000, bits(4))]]


def test_a_clock_that_was_set_back() -> None:
    """What was written since then is sent, from the newest row on."""
    store = filled([(START_MS + 1000 * i, [float(i)]) for i in range(5)], gauges(1))
    follower = Follower(everything(store), 100)
    follower.follow()
    store.append_row("c", 0, START_MS - 3_600_000, row([9.0]))
    answer = follower.ask()
    assert [(times, values) for _, times, values in answer.series] == [([START_MS - 3_600_000], bits(9))]


def test_an_aggregator_that_begins_anew_gives_other_refs() -> None:
    """A window that was left in the middle goes on there all the same."""
    rows = [(START_MS + 1000 * i, [float(i + n) for n in range(4)]) for i in range(3)]
    follower = Follower(everything(filled(rows, gauges(4))), 3)
    first = follower.ask()
    assert len(first.series) == 1 and first.more
    (labels,) = (labels for _, labels in first.labels)
    again = Store()
    again.announce("c", 0, 0, gauges(4)[::-1])
    for t_ms, values in rows:
        again.append_row("c", 0, t_ms, row(values[::-1]))
    other = Follower(everything(again), 1000)
    other.cursors = dict(first.cursors)
    other.follow()
    expected = samples_of(again.snapshot())
    del expected[labels]
    assert other.by_labels(markers=True) == expected


def test_labels_are_told_once_a_session() -> None:
    """A sender that is new has to be told all of them."""
    store = filled([(START_MS, [1.0, 2.0])], gauges(2))
    feed = everything(store)

    def told(session: int) -> int:
        return len(feed.answer(FeedRequest(1, session, 0, {}, 0, 100)).labels)

    assert [told(1), told(1), told(2), told(2)] == [2, 0, 2, 0]


def test_what_retention_drops_first_is_counted() -> None:
    """The follower goes on at the oldest row that is left, and hears how much time is missing."""
    store = Store(StoreOptions(retention_ms=600_000))
    store.announce("c", 0, 0, gauges(1))
    feed = everything(store)
    follower = Follower(feed, 100)
    for i in range(3_000):
        store.append_row("c", 0, START_MS + 1000 * i, row([float(i)]))
        if i == 10:
            follower.follow()
        if i % 100 == 0:
            store.maintain(START_MS + 1000 * i, 1.0)
    store.maintain(START_MS + 3_000_000, 1.0)
    follower.follow()
    (samples,) = follower.by_labels(markers=True).values()
    left = next(iter(samples_of(store.snapshot()).values()))
    assert samples[:11] == [(START_MS + 1000 * i, bits(i)) for i in range(11)]
    assert samples[11:] == left
    assert follower.lost_ms == left[0][0] - samples[10][0] > 1_000_000


def test_a_slice_is_short() -> None:
    """An answer ends when its time is over, with at least one series."""
    clock: Iterator[float] = (0.0011 * i for i in range(1000))
    store = filled([(START_MS, [float(i) for i in range(50)])], gauges(50))
    feed = SampleFeed(store, [SeriesChoice(1, [], 0)], clock=lambda: next(clock))
    answer = feed.answer(FeedRequest(1, 1, 0, {}, 0, 1000))
    assert len(answer.series) == 2
    assert answer.more


def test_what_each_destination_gets() -> None:
    """Its own rules where it has some, else the flags'; intervals begin at a time of its own."""
    flags = {
        "remote-write.url": ["http://a/", "http://b/"],
        "remote-write.interval": "30s",
        "remote-write.match": ['up{job="x"}'],
    }
    first, second = make_choices(make_config(flags, {}), "host")
    assert first.kinds == second.kinds == "if"
    wants, others = first.wants_row("i"), second.wants_row("i")
    seconds = [t for t in range(0, 120_000, 1000) if wants(t - 1000, t)]
    assert len(seconds) == 4
    assert seconds != [t for t in range(0, 120_000, 1000) if others(t - 1000, t)]


def test_columns_that_come_later() -> None:
    """A process that starts after the first rows, and a new layout: both are followed."""
    store = filled([(START_MS, [1.0])], gauges(1))
    follower = Follower(everything(store), 100)
    follower.follow()
    store.announce("c", 0, 1, [local("late")])
    store.append_row("c", 0, START_MS + 1000, row([2.0, 3.0]))
    follower.follow()
    renumbered: list[Column] = [local("late"), local("new")]
    store.announce("c", 1, 0, renumbered)
    store.append_row("c", 1, START_MS + 2000, row([4.0, 5.0]))
    follower.follow()
    found = {dict(labels)["i"]: samples for labels, samples in follower.by_labels(markers=True).items()}
    assert found == {
        "0": [(START_MS, bits(1)), (START_MS + 1000, bits(2)), (START_MS + 2000, STALE_BYTES)],
        "late": [(START_MS + 1000, bits(3)), (START_MS + 2000, bits(4))],
        "new": [(START_MS + 2000, bits(5))],
    }
