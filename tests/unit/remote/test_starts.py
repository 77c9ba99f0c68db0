"""When a counter began, as 2.0 sends it: what the gauge in its own row says, or nothing."""

from __future__ import annotations

import math

import pytest

from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.model.family import Column, CounterStart, Family, column
from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE
from prom_probe.remote.feed import SampleFeed, SeriesChoice
from prom_probe.remote.feed_protocol import FeedRequest
from prom_probe.remote.starts import sample_starts, start_of
from prom_probe.tsdb.store import Store
from tests.support.sender_machine import START_MS
from tests.support.tsdb_tools import row

START = CounterStart("begun_seconds", ("mode",))
CPU = Family("cpu_total", "counter", "CPU.", start=START)
BEGUN = Family("begun_seconds", "gauge", "When it began.")
OTHER = Family("other_total", "counter", "Nothing tells when it began.")

START_S = START_MS / 1000


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        ("cpu_total", CPU, START),
        ("jobs_total", Family("jobs_total", "counter", ""), CounterStart("jobs_created")),
        ("jobs", Family("jobs", "counter", ""), CounterStart("jobs_created")),
        ("h_bucket", Family("h", "histogram", ""), CounterStart("h_created", ("le",))),
        ("h_sum", Family("h", "histogram", ""), CounterStart("h_created", ("le",))),
        ("s_count", Family("s", "summary", ""), CounterStart("s_created", ("le",))),
        ("s", Family("s", "summary", ""), None),  # a quantile goes up and down
        ("jobs_count", Family("jobs_count", "gauge", ""), None),
        ("jobs_total", Family("jobs_total", "unknown", ""), None),
        ("jobs_total", None, None),
    ],
)
def test_what_tells_of_a_start(name: str, family: Family | None, expected: CounterStart | None) -> None:
    """Its family's gauge, or the `_created` of a scraped page; nothing for what is not a counter."""
    assert start_of(name, family) == expected


@pytest.mark.parametrize(
    ("start_s", "expected"),
    [
        (START_S - 0.001, START_MS - 1),
        (START_S - 0.0015, START_MS - 2),
        (1.5, 1500),
        (START_S, 0),
        (START_S - 0.0001, 0),
        (START_S + 1, 0),
        (0.0, 0),
        (-1.0, 0),
        (1e300, 0),
        (math.inf, 0),
        (-math.inf, 0),
        (STALE, 0),
    ],
)
def test_a_start_lies_before_its_sample(start_s: float, expected: int) -> None:
    """Receivers refuse any other; a page may tell anything."""
    assert sample_starts([START_MS], [start_s]) == [expected]


def test_our_gauges_stand_beside_their_counters() -> None:
    """Each has the labels that its counters keep, and only counters have one."""
    gauges = {definition.family.name: definition for definition in DEFINITIONS}
    told = [definition for definition in DEFINITIONS if definition.family.start is not None]
    assert {definition.family.start.gauge for definition in told if definition.family.start} == {
        "proctree_process_start_time_seconds",
        "proctree_counters_start_time_seconds",
        "system_boot_time_seconds",
        "prom_probe_start_time_seconds",
    }
    for definition in told:
        start = definition.family.start
        assert start is not None
        assert definition.family.type == "counter"
        assert gauges[start.gauge].family.type == "gauge"
        assert set(gauges[start.gauge].labels) == set(definition.labels) - set(start.without)


COLUMNS = [
    column(CPU, pid="1", mode="user"),
    column(CPU, pid="2", mode="user"),
    column(BEGUN, pid="1"),
    column(BEGUN, pid="2"),
    column(OTHER, pid="1"),
]


def answered(store: Store, *, starts: bool = True) -> dict[Labels, dict[int, int]]:
    """The starts of an answer that has everything, by labels and seconds after START_MS."""
    feed = SampleFeed(store, [SeriesChoice(1, [], 0)], clock=lambda: 0.0)
    answer = feed.answer(FeedRequest(1, 1, 0, {}, 0, 10_000, starts=starts))
    labels = dict(answer.labels)
    found: dict[Labels, dict[int, int]] = {}
    for number, starts_ms in answer.starts.items():
        ref, times, _ = answer.series[number]
        told = {(t - START_MS) // 1000: one for t, one in zip(times, starts_ms, strict=True) if one}
        found.setdefault(labels[ref], {}).update(told)
    return found


def stored(*rows: list[float | None], columns: list[Column] = COLUMNS) -> Store:
    store = Store()
    store.announce("c", 0, 0, columns)
    for i, values in enumerate(rows):
        store.append_row("c", 0, START_MS + 1000 * i, row(values))
    return store


@pytest.mark.parametrize("sealed", [False, True])
def test_each_sample_has_the_start_of_its_own_row(sealed: bool) -> None:
    """A PID that is used again begins anew; without its gauge a row tells nothing; a marker has no start."""
    store = stored(
        [5, 1, START_S - 9, START_S - 1, 7],
        [6, 1, START_S - 9, None, 7],
        [None, None, None, None, 7],
        [0, 2, START_S + 2.5, START_S - 1, 7],
    )
    if sealed:
        for stream in store.collector_streams():
            stream.close()
        store.settle(1.0)
    assert answered(store) == {
        COLUMNS[0].labels: {0: START_MS - 9000, 1: START_MS - 9000, 3: START_MS + 2500},
        COLUMNS[1].labels: {0: START_MS - 1000, 3: START_MS - 1000},
    }
    assert answered(store, starts=False) == {}


def test_a_scraped_page_tells_it_too() -> None:
    """Counters with and without `_total`, and all parts of a histogram; a gauge of a similar name has none."""
    jobs, seconds = Family("jobs_total", "counter", ""), Family("h", "histogram", "")
    columns = [
        column(jobs, queue="a"),
        column(Family("jobs_created", "gauge", ""), queue="a"),
        column(Family("jobs_count", "gauge", ""), queue="a"),
        Column(seconds, (("__name__", "h_bucket"), ("le", "+Inf"))),
        Column(seconds, (("__name__", "h_count"),)),
        column(Family("h_created", "gauge", "")),
    ]
    store = stored([3, START_S - 5, 1, 4, 4, START_S - 6], columns=columns)
    assert answered(store) == {
        columns[0].labels: {0: START_MS - 5000},
        columns[3].labels: {0: START_MS - 6000},
        columns[4].labels: {0: START_MS - 6000},
    }


def test_a_gauge_of_another_collector_tells_nothing() -> None:
    """Its row is of another time."""
    store = stored([5], columns=COLUMNS[:1])
    store.announce("d", 0, 0, COLUMNS[2:3])
    store.append_row("d", 0, START_MS, row([START_S - 9]))
    assert answered(store) == {}
