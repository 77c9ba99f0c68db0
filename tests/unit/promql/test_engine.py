"""The engine's answers, its limits, and how it behaves among several threads."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from prom_probe.model.feature import Feature
from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE
from prom_probe.promql.engine import Engine
from prom_probe.promql.limits import QueryLimits
from prom_probe.promql.parser import parse
from prom_probe.promql.result import QueryError, Result
from prom_probe.promql.syntax import written
from prom_probe.promql.values import without_name
from tests.support.promql_tools import Grid, Memory, Sample, series
from tests.support.waiting import DEADLINE_S

EXPERIMENTAL = QueryLimits(features=frozenset({Feature.EXPERIMENTAL_FUNCTIONS}))


def counters(number: int, samples: int, step_ms: int = 1000) -> dict[Labels, list[Sample]]:
    """`x_total{i="0"}` and on, each growing by its number plus one a sample."""
    return {
        series("x_total", i=str(i), job=f"j{i % 2}"): [(t * step_ms, float(t * (i + 1))) for t in range(samples)]
        for i in range(number)
    }


def test_a_vector() -> None:
    """An instant query of a selector gives the newest samples."""
    result = Engine().instant(Memory(counters(2, 60)), "x_total", 59_000)
    assert result.type == "vector"
    assert result.timestamps.tolist() == [59_000]
    assert result.values.tolist() == [[59.0], [118.0]]
    assert result.labels == [series("x_total", i="0", job="j0"), series("x_total", i="1", job="j1")]


def test_a_scalar_and_a_string() -> None:
    """Scalars have one row without labels, strings their text."""
    engine = Engine()
    scalar = engine.instant(Memory({}), "1 + 1", 5000)
    assert (scalar.type, scalar.labels, scalar.values.tolist()) == ("scalar", [()], [[2.0]])
    text = engine.instant(Memory({}), '"a"', 5000)
    assert (text.type, text.string) == ("string", "a")


def test_a_matrix_of_an_instant_query_has_its_samples_as_they_are() -> None:
    """`x[5s]` gives raw samples, left-open and right-closed."""
    result = Engine().instant(Memory(counters(2, 60)), 'x_total{i="1"}[5s]', 59_000)
    assert result.type == "matrix"
    assert result.raw is not None
    times, values = result.raw[0]
    assert times.tolist() == [55_000, 56_000, 57_000, 58_000, 59_000]
    assert values.tolist() == [110.0, 112.0, 114.0, 116.0, 118.0]


def test_a_range_query_is_sorted_and_tells_gaps() -> None:
    """Series come by their labels, absent points are not present, series without points are left out."""
    samples = {
        series("b"): [(0, 1.0), (1000, 2.0)],
        series("a"): [(400_000, 3.0)],
        series("c"): [(900_000, 3.0)],
    }
    result = Engine().range(Memory(samples), '{__name__=~"a|b|c"}', 0, 600_000, 200_000)
    assert result.type == "matrix"
    assert result.labels == [series("a"), series("b")]
    assert result.timestamps.tolist() == [0, 200_000, 400_000, 600_000]
    assert result.present is not None
    assert result.present.tolist() == [[False, False, True, True], [True, True, False, False]]


@pytest.mark.parametrize("expr", ["x[5m]", '"a"', "x[5m:1m]"])
def test_a_range_query_needs_a_vector_or_scalar(expr: str) -> None:
    """Other types are an error of the query."""
    with pytest.raises(QueryError, match="for range query, must be Scalar or instant Vector") as caught:
        Engine().range(Memory({}), expr, 0, 1000, 1000)
    assert caught.value.kind == "bad_data"


RANGES = [
    (0, 11_001_000, 1000, "exceeded maximum resolution of 11,000 points per timeseries"),
    (0, 1000, 0, "zero or negative query resolution step widths are not accepted"),
    (0, 1000, -5, "zero or negative query resolution step widths are not accepted"),
    (1000, 0, 1000, "end timestamp must not be before start time"),
]


@pytest.mark.parametrize(("start", "end", "step", "message"), RANGES)
def test_bad_ranges_are_refused(start: int, end: int, step: int, message: str) -> None:
    """Too many steps, a step of zero, an end before the start."""
    with pytest.raises(QueryError, match=message) as caught:
        Engine().range(Memory({}), "1", start, end, step)
    assert caught.value.kind == "bad_data"


def test_the_most_steps_permitted() -> None:
    """11,000 steps of a constant are answered."""
    result = Engine().range(Memory({}), "1", 0, 11_000_000, 1000)
    assert result.values.shape == (1, 11_001)


def test_lookback() -> None:
    """A sample counts for less than the lookback, which a query can set."""
    store = Memory({series("x"): [(0, 1.0)]})
    engine = Engine()
    assert engine.instant(store, "x", 299_999).labels
    assert not engine.instant(store, "x", 300_000).labels
    assert not engine.instant(store, "x", 1000, lookback_ms=1000).labels


def test_step_invariant_parts_are_read_once() -> None:
    """A selector with @ is evaluated at one step, whatever the number of steps."""
    engine = Engine(QueryLimits(max_samples=1))
    store = Memory(counters(1, 600))
    with pytest.raises(QueryError, match="too many samples"):
        engine.range(store, "sum(x_total)", 0, 599_000, 1000)
    fixed = engine.range(store, "sum(x_total @ 100)", 0, 599_000, 1000)
    assert (fixed.values == 100.0).all()


def test_start_and_end_stand_for_the_query_even_in_subqueries() -> None:
    """start() and end() are the query's, not the subquery's."""
    store = Memory(counters(1, 600))
    result = Engine().range(
        store, "max_over_time((x_total @ end())[1m:10s]) - x_total @ start()", 60_000, 120_000, 60_000
    )
    assert result.values.tolist() == [[60.0, 60.0]]


# -- notes

NOTES: list[tuple[str, list[str], list[str]]] = [
    (
        "rate(g[1m])",
        [],
        ['PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "g" (1:6)'],
    ),
    ("rate(x_total[1m])", [], []),
    (
        "1 + quantile(2, g)",
        ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:14)"],
        [],
    ),
    (
        "limit_ratio(1.5, g)",
        ["PromQL warning: ratio value should be between -1 and 1, got 1.5, capping to 1 (1:13)"],
        [],
    ),
    (
        "limit_ratio(-1.5, g)",
        ["PromQL warning: ratio value should be between -1 and 1, got -1.5, capping to -1 (1:13)"],
        [],
    ),
    ("limit_ratio(-1, g)", [], []),
    (
        "quantile_over_time(-0.5, g[1m])",
        ["PromQL warning: quantile value should be between 0 and 1, got -0.5 (1:20)"],
        [],
    ),
    (
        "\n histogram_quantile(0.5, g)",
        [
            'PromQL warning: bucket label "le" is missing or has a malformed value of "" (2:26)',
        ],
        [],
    ),
]


@pytest.mark.parametrize(("expr", "warnings", "infos"), NOTES)
def test_notes(expr: str, warnings: list[str], infos: list[str]) -> None:
    """Warnings and infos have upstream's texts and the place in the query."""
    samples = {series("g"): [(0, 1.0), (30_000, 2.0)], series("x_total"): [(0, 1.0), (30_000, 2.0)]}
    result = Engine(EXPERIMENTAL).instant(Memory(samples), expr, 30_000)
    assert (result.warnings, result.infos) == (warnings, infos)


def test_at_most_ten_notes_of_a_kind() -> None:
    """A query over many metrics does not give a note for each."""
    samples = {series(f"g{i}", i=str(i)): [(0, 1.0), (1000, 2.0)] for i in range(15)}
    infos = Engine().instant(Memory(samples), 'rate({__name__=~"g.*"}[1m])', 1000)
    assert len(infos.infos) == 11
    assert infos.infos[-1] == "5 more info annotations omitted"


# -- limits


def test_too_many_samples() -> None:
    """A query that reads more samples than allowed is an execution error."""
    with pytest.raises(QueryError, match="too many samples") as caught:
        Engine(QueryLimits(max_samples=1000)).instant(Memory(counters(20, 100)), "sum(rate(x_total[5m]))", 99_000)
    assert caught.value.kind == "execution"


def test_too_much_memory_is_refused_and_given_back() -> None:
    """A query beyond the memory limit is an execution error; afterwards nothing is held."""
    engine = Engine(QueryLimits(max_memory_bytes=1_000_000))
    store = Memory(counters(40, 300), together=True)
    with pytest.raises(QueryError, match="more memory") as caught:
        engine.range(store, "x_total * 2 + x_total", 0, 299_000, 100)
    assert caught.value.kind == "execution"
    assert engine.memory_used == 0
    assert engine.instant(store, "count(x_total)", 299_000).values.tolist() == [[40.0]]
    assert engine.memory_used == 0


@pytest.mark.parametrize(
    "expr", ["sum_over_time(x[1y:1ms])", "sum_over_time(time()[1d:1ms])", "sum_over_time(vector(1)[1y:1ms])"]
)
def test_subqueries_of_too_many_steps_are_refused(expr: str) -> None:
    """A subquery whose steps alone would not fit the memory is refused before there are arrays of that size."""
    engine = Engine()
    with pytest.raises(QueryError) as caught:
        engine.instant(Memory({series("x"): [(0, 1.0)]}), expr.replace("time()", "vector(time())"), 0)
    assert caught.value.kind == "execution"
    assert engine.memory_used == 0


def test_memory_follows_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aggregating a rate over more samples than fit the limit works, since they are read in batches."""
    for module in ("query", "evaluation", "functions.base", "functions.rate"):
        monkeypatch.setattr(f"prom_probe.promql.{module}.BLOCK", 4096)
    raw_bytes = 256 * 1000 * 8
    engine = Engine(QueryLimits(max_memory_bytes=raw_bytes))
    peak = 0

    def look() -> None:
        nonlocal peak
        peak = max(peak, engine.memory_used)

    store = Memory(counters(256, 1000), together=True, on_group=look)
    result = engine.range(store, "sum by (job) (rate(x_total[1m]))", 60_000, 999_000, 60_000)
    assert np.allclose(result.values, np.array([[16384.0], [16512.0]]))
    assert 0 < peak < raw_bytes / 4


def test_a_matrix_is_sorted_by_labels() -> None:
    """Whatever the order in which its series were made, and whether some points are missing."""
    for gap in (False, True):
        samples = {series("x", i=name): [(1000 * t, 1.0) for t in range(gap, 5)] for name in "abc"}
        result = Engine().range(
            Memory(samples), 'label_replace(x, "a", "$1", "i", "(a)")', 0, 4000, 1000, lookback_ms=1
        )
        assert [dict(labels)["i"] for labels in result.labels] == ["a", "b", "c"]
        assert result.complete is not gap
        result = Engine().range(Memory(samples), 'label_replace(x{i!="a"}, "i", "", "i", "c")', 0, 4000, 1000)
        assert [dict(labels).get("i") for labels in result.labels] == [None, "b"]


def test_memory_is_shared_by_running_queries() -> None:
    """Memory that one running query holds is not available to another."""
    engine = Engine(QueryLimits(max_memory_bytes=2_000_000))
    inside = threading.Event()
    leave = threading.Event()

    def pause() -> None:
        inside.set()
        assert leave.wait(DEADLINE_S)

    samples = {series("y", i=str(i)): [(0, 1.0)] for i in range(2)}
    slow = Memory(samples, on_group=pause)
    expr = "(vector(1) or vector(2)) * on() group_right y"
    thread = threading.Thread(target=lambda: engine.range(slow, "time() + y", 0, 10_000_000, 1000))
    thread.start()
    try:
        assert inside.wait(DEADLINE_S)
        assert engine.memory_used > 0
    finally:
        leave.set()
        thread.join(DEADLINE_S)
    assert engine.memory_used == 0
    assert engine.instant(Memory(samples), expr, 0).labels


def test_a_deadline_stops_a_query() -> None:
    """Past its timeout a query stops between batches and says so."""
    engine = Engine()
    store = Memory(counters(300, 5), on_group=lambda: time.sleep(0.005))
    with pytest.raises(QueryError, match="timed out") as caught:
        engine.instant(store, "rate(x_total[5m])", 4000, timeout_s=0.05)
    assert caught.value.kind == "timeout"
    assert engine.memory_used == 0


def test_a_backtracking_regex_stops_at_the_deadline() -> None:
    """A regex that would take forever is a timeout, in selectors and in label_replace; other threads go on."""
    samples = {series("x", a="a" * 40 + "b"): [(0, 1.0)]}
    engine = Engine()
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        for expr in ('{a=~"((a|aa)+)+$"}', 'label_replace(x, "b", "$1", "a", "((a|aa)+)+$")'):
            before = ticks
            with pytest.raises(QueryError) as caught:
                engine.instant(Memory(samples), expr, 0, timeout_s=0.2)
            assert caught.value.kind == "timeout"
            assert ticks > before + 1
    finally:
        done.set()
        thread.join(DEADLINE_S)


def test_the_worst_permitted_expressions_are_evaluated() -> None:
    """The longest chains and deepest nestings within the bounds do not exceed the recursion limit."""
    engine = Engine()
    store = Memory({series("x"): [(0, 1.0)]})
    for expr in ("+".join(["x"] * 200), "abs(" * 99 + "x" + ")" * 99, "(x+" * 99 + "x" + ")" * 99 + "+1" * 100):
        assert engine.instant(store, expr, 0).labels


def test_queries_in_many_threads() -> None:
    """One engine answers queries of several threads at once."""
    engine = Engine()
    store = Memory(counters(10, 300), together=True)
    found: dict[int, Result] = {}

    def work(i: int) -> None:
        found[i] = engine.range(store, f'rate(x_total{{i="{i}"}}[1m])', 60_000, 299_000, 1000)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    for i in range(10):
        assert np.allclose(found[i].values, i + 1)
    assert engine.memory_used == sum(9 * result.values.size for result in found.values())
    found.clear()
    assert engine.memory_used == 0


def test_real_nan_is_a_value_and_the_marker_is_none() -> None:
    """A NaN sample is present; the staleness marker, told by its bits, is not."""
    from prom_probe.model.sample import STALE

    store = Memory({series("x"): [(0, math.nan), (1000, STALE), (2000, 5.0)]})
    engine = Engine()
    assert math.isnan(engine.instant(store, "x", 500).values[0, 0])
    assert not engine.instant(store, "x", 1500).labels
    assert engine.instant(store, "count_over_time(x[10s])", 2000).values.tolist() == [[2.0]]


@pytest.mark.parametrize("op", ["</", ">/"])
def test_operators_of_native_histograms_are_an_error(op: str) -> None:
    """They are of the language, but there are no native histograms here that they could trim."""
    with pytest.raises(QueryError, match="trims native histograms, which are not stored here") as caught:
        Engine().instant(Memory({series("x"): [(0, 1.0)]}), f"x {op} 1", 0)
    assert caught.value.kind == "execution"


def test_hashes_of_limit_ratio_split_the_series() -> None:
    """A ratio and its negative counterpart together select all series."""
    store = Memory({series("x", i=str(i)): [(0, 1.0)] for i in range(200)})
    engine = Engine(EXPERIMENTAL)
    some = engine.instant(store, "count(limit_ratio(0.3, x))", 0).values[0, 0]
    rest = engine.instant(store, "count(limit_ratio(-0.7, x))", 0).values[0, 0]
    assert some + rest == 200
    assert 30 < some < 90


@pytest.mark.parametrize("gaps", [False, True], ids=["dense", "gaps"])
def test_series_give_the_same_together_as_alone(gaps: bool) -> None:
    """More series than are worked on at a time, all with resets, with the same timestamps or their own."""
    random = np.random.default_rng(7)
    values = random.integers(0, 1000, (150, 3600)).astype(float)
    values[:, 1200:1500] = 5.0
    if gaps:
        values[random.random(values.shape) < 0.01] = STALE
    labels = [series("x_total", i=str(i)) for i in range(len(values))]
    times = range(0, 3_600_000, 1000)
    every = Grid(labels, times, values)
    for call in ("increase", "irate", "resets", "changes", "deriv", "stddev_over_time", "sum_over_time"):
        expr = f"{call}(x_total[20m])"
        together = dict(zip(*_rows(every, expr), strict=True))
        for i in (0, 35, 36, 37, 99, 149):
            alone = dict(zip(*_rows(Grid(labels[i : i + 1], times, values[i : i + 1]), expr), strict=True))
            assert alone == {without_name(labels[i]): together[without_name(labels[i])]}


def _rows(store: Grid, expr: str) -> tuple[list[Labels], list[list[float]]]:
    result = Engine().range(store, expr, 1_200_000, 3_600_000, 600_000)
    return result.labels, result.values.tolist()


@pytest.mark.parametrize("call", ["rate", "max_over_time", "sum_over_time", "last_over_time", "deriv"])
def test_processes_that_come_and_go_are_evaluated_as_each_alone(call: str) -> None:
    """Series in the same rows, of which some have all samples, some a part of them, and one another part."""
    spans = {"whole": (0, 60), "first": (0, 7), "last": (55, 60), "inside": (20, 33), "whole too": (0, 60)}
    samples = {
        series("x_total", comm=comm): [(1000 * t, float(t * t % 41 + len(comm))) for t in range(*span)]
        for comm, span in spans.items()
    }
    samples[series("x_total", comm="hole")] = [(1000 * t, float(t)) for t in range(60) if not 30 <= t < 40]
    expr = f"{call}(x_total[6s])"
    together, alone = (Engine().range(Memory(samples, together=one), expr, 500, 60_500, 2500) for one in (True, False))
    assert together.labels == alone.labels
    assert together.present is not None
    assert alone.present is not None
    assert together.present.tolist() == alone.present.tolist()
    assert together.values[together.present].tolist() == pytest.approx(alone.values[alone.present].tolist())


NESTED = [
    ("abs(x+-", ")"),
    ("topk(1, x^-", ")"),
    ("rate((x+-", ")[1m:1m])"),
    ("label_replace(x or -", ',"a","b","c","d")'),
    ("histogram_quantile(1, x*", ")"),
    ("sum by (a) ((x+", "))"),
    ("x-(x^", ")+x"),
    ("-", "+x"),
]


@pytest.mark.parametrize(("opening", "closing"), NESTED)
def test_the_deepest_queries_are_evaluated(opening: str, closing: str) -> None:
    """What the parser lets pass nests no deeper than Python's stack allows; the rest is an error of the query."""
    store = Memory({series("x"): [(0, 1.0)]})
    depths = []
    for depth in range(1, 110):
        text = opening * depth + "x" + closing * depth
        try:
            parse(text)
        except QueryError as error:
            assert "nests" in str(error) or "more than" in str(error)
            continue
        depths.append(depth)
    assert depths == list(range(1, max(depths) + 1))
    assert 20 < max(depths) < 109
    text = opening * max(depths) + "x" + closing * max(depths)
    Engine().range(store, text, 0, 60_000, 60_000)
    assert written(text).pretty()
