"""The vectorised engine against plain Python, for series with gaps, staleness markers and irregular timestamps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.feature import Feature
from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE, is_stale
from prom_probe.promql.engine import Engine
from prom_probe.promql.limits import QueryLimits
from tests.support.promql_tools import Memory, Sample, series

Window = list[Sample]

EXPERIMENTAL = QueryLimits(features=frozenset({Feature.EXPERIMENTAL_FUNCTIONS}))
START, END, STEP, RANGE, LOOKBACK = 200_000, 400_000, 10_000, 60_000, 45_000


def rate_of(window: Window, start: int, end: int, *, counter: bool, per_second: bool) -> float | None:
    """Upstream's extrapolation, sample by sample."""
    if len(window) < 2:
        return None
    change = window[-1][1] - window[0][1]
    if counter:
        for (_, before), (_, now) in pairwise(window):
            if now < before:
                change += before
    covered = (window[-1][0] - window[0][0]) / 1000
    spacing = covered / (len(window) - 1)
    to_start, to_end = (window[0][0] - start) / 1000, (end - window[-1][0]) / 1000
    if to_start >= spacing * 1.1:
        to_start = spacing / 2
    if to_end >= spacing * 1.1:
        to_end = spacing / 2
    if counter and change > 0 and window[0][1] >= 0:
        to_start = min(to_start, covered * (window[0][1] / change))
    factor = (covered + to_start + to_end) / covered
    return change * factor / ((end - start) / 1000 if per_second else 1)


def quantile_of(q: float, values: Sequence[float]) -> float:
    ordered = sorted(values, key=lambda v: (not math.isnan(v), v))
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(len(ordered) - 1, low + 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def extreme(choose: Callable[[list[float]], float], values: list[float]) -> float:
    numbers = [v for v in values if not math.isnan(v)]
    return choose(numbers) if numbers else math.nan


def summed(values: list[float]) -> float:
    if any(map(math.isnan, values)) or {math.inf, -math.inf} <= set(values):
        return math.nan
    infinite = [v for v in values if math.isinf(v)]
    return infinite[0] if infinite else math.fsum(values)


def slope_of(window: Window) -> float:
    values = [v for _, v in window]
    if all(v == values[0] for v in values):
        return math.nan if math.isinf(values[0]) else 0.0
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.linear_regression([t / 1000 for t, _ in window], values).slope


def values_of(window: Window) -> list[float]:
    return [v for _, v in window]


def variance_of(values: list[float]) -> float:
    return statistics.pvariance(values) if all(map(math.isfinite, values)) else math.nan


def changed(a: float, b: float) -> bool:
    return a != b and not (math.isnan(a) and math.isnan(b))


def two(window: Window) -> bool:
    return len(window) > 1


# name -> (function of the window and its bounds -> value or None, whether it needs finite values to be compared)
REFERENCE: dict[str, Callable[[Window, int, int], float | None]] = {
    "rate(x[60s])": lambda w, a, b: rate_of(w, a, b, counter=True, per_second=True),
    "increase(x[60s])": lambda w, a, b: rate_of(w, a, b, counter=True, per_second=False),
    "delta(x[60s])": lambda w, a, b: rate_of(w, a, b, counter=False, per_second=False),
    "irate(x[60s])": lambda w, a, b: (
        (w[-1][1] if w[-1][1] < w[-2][1] else w[-1][1] - w[-2][1]) / ((w[-1][0] - w[-2][0]) / 1000) if two(w) else None
    ),
    "idelta(x[60s])": lambda w, a, b: w[-1][1] - w[-2][1] if two(w) else None,
    "resets(x[60s])": lambda w, a, b: sum(now < before for (_, before), (_, now) in pairwise(w)),
    "changes(x[60s])": lambda w, a, b: sum(changed(p[1], q[1]) for p, q in pairwise(w)),
    "count_over_time(x[60s])": lambda w, a, b: len(w),
    "sum_over_time(x[60s])": lambda w, a, b: summed(values_of(w)),
    "avg_over_time(x[60s])": lambda w, a, b: summed(values_of(w)) / len(w),
    "min_over_time(x[60s])": lambda w, a, b: extreme(min, values_of(w)),
    "max_over_time(x[60s])": lambda w, a, b: extreme(max, values_of(w)),
    "stdvar_over_time(x[60s])": lambda w, a, b: variance_of(values_of(w)),
    "last_over_time(x[60s])": lambda w, a, b: w[-1][1],
    "first_over_time(x[60s])": lambda w, a, b: w[0][1],
    "present_over_time(x[60s])": lambda w, a, b: 1.0,
    "quantile_over_time(0.3, x[60s])": lambda w, a, b: quantile_of(0.3, values_of(w)),
    "ts_of_last_over_time(x[60s])": lambda w, a, b: w[-1][0] / 1000,
    "deriv(x[60s])": lambda w, a, b: slope_of(w) if two(w) else None,
}

_numbers = st.one_of(
    st.integers(-50, 1000).map(float),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.sampled_from([math.nan, math.inf, -math.inf, STALE, STALE]),
)
_finite = st.one_of(st.integers(0, 1000).map(float), st.floats(-1e6, 1e6), st.just(STALE))


def _timelines(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[Sample]]:
    """Regular and irregular series, with gaps."""
    regular = st.lists(values, min_size=1, max_size=60).map(
        lambda vs: [(130_000 + 5000 * i, v) for i, v in enumerate(vs)]
    )
    irregular = st.dictionaries(st.integers(130_000, 410_000), values, min_size=1, max_size=40).map(
        lambda points: sorted(points.items())
    )
    return st.one_of(regular, irregular)


def stores(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[dict[Labels, list[Sample]], bool]]:
    several = st.lists(_timelines(values), min_size=1, max_size=4).map(
        lambda lines: {series("x", i=str(i)): line for i, line in enumerate(lines)}
    )
    return st.tuples(several, st.booleans())


def _risen(stored: tuple[dict[Labels, list[Sample]], bool]) -> tuple[dict[Labels, list[Sample]], bool]:
    """The same with each series' values in order, without markers: counters that were never reset, some below zero."""
    samples, together = stored
    out = {}
    for labels, points in samples.items():
        kept = [(t, v) for t, v in points if not is_stale(v)]
        out[labels] = [(t, v) for (t, _), v in zip(kept, sorted(v for _, v in kept), strict=True)]
    return {labels: points for labels, points in out.items() if points}, together


def equal(a: float, b: float, tolerance: float = 1e-9) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3)


def check(
    expr: str, samples: dict[Labels, list[Sample]], together: bool, wanted: Callable[[list[Sample], int], float | None]
) -> None:
    """Compare the engine's matrix with `wanted`(samples without markers before, step), point by point."""
    result = Engine(EXPERIMENTAL).range(
        Memory(samples, together=together), expr, START, END, STEP, lookback_ms=LOOKBACK
    )
    assert result.present is not None
    rows = {dict(labels)["i"]: n for n, labels in enumerate(result.labels)}
    for labels, points in samples.items():
        row = rows.get(dict(labels)["i"])
        for step, t_ms in enumerate(range(START, END + 1, STEP)):
            expected = wanted(points, t_ms)
            present = row is not None and bool(result.present[row, step])
            assert present == (expected is not None), (labels, t_ms, expected)
            if row is not None and expected is not None:
                assert equal(float(result.values[row, step]), expected), (labels, t_ms)


@pytest.mark.parametrize("expr", REFERENCE)
@settings(max_examples=25)
@given(data=st.data())
def test_windows_agree_with_plain_python(expr: str, data: st.DataObject) -> None:
    """A function over left-open, right-closed windows gives what a loop over the samples gives."""
    arithmetic = any(word in expr for word in ("rate", "increase", "delta", "deriv", "stdvar", "quantile"))
    stored = stores(_finite if arithmetic else _numbers)
    if expr.startswith(("rate", "increase")):
        stored = st.one_of(stored, stored.map(_risen))
    samples, together = data.draw(stored)

    def wanted(points: list[Sample], t_ms: int) -> float | None:
        window = [(t, v) for t, v in points if t_ms - RANGE < t <= t_ms and not is_stale(v)]
        return REFERENCE[expr](window, t_ms - RANGE, t_ms) if window else None

    check(expr, samples, together, wanted)


@settings(max_examples=60)
@given(stores(_numbers), st.sampled_from([0, 7000, -7000]))
def test_selectors_agree_with_plain_python(store: tuple[dict[Labels, list[Sample]], bool], offset_ms: int) -> None:
    """A selector gives the newest sample within the lookback, none after a staleness marker."""
    samples, together = store

    def wanted(points: list[Sample], t_ms: int) -> float | None:
        before = [(t, v) for t, v in points if t_ms - offset_ms - LOOKBACK < t <= t_ms - offset_ms]
        return None if not before or is_stale(before[-1][1]) else before[-1][1]

    if together:  # on a common timeline a sample that is not there ends the series, as a marker does
        times = sorted({t for points in samples.values() for t, _ in points})
        samples = {labels: [(t, dict(points).get(t, STALE)) for t in times] for labels, points in samples.items()}
    check(f"x offset {offset_ms // 1000}s", samples, together, wanted)


@settings(max_examples=60)
@given(st.lists(st.floats(-1e18, 1e18), min_size=2, max_size=80))
def test_sums_are_as_good_as_compensated_ones(values: list[float]) -> None:
    """A window's sum is right to 1e-12 of its parts, whatever came before it."""
    line = [(START - 70_000 + 5000 * i, v) for i, v in enumerate([1e22, -3e21, *values])]
    check("sum_over_time(x[60s])", {series("x", i="0"): line}, False, lambda points, t_ms: _window_sum(points, t_ms))


def _window_sum(points: list[Sample], t_ms: int) -> float | None:
    window = [v for t, v in points if t_ms - RANGE < t <= t_ms]
    return math.fsum(window) if window else None


def test_many_steps_over_one_window_length_use_blocks() -> None:
    """Quantiles over more windows than fit one temporary array are right at both ends."""
    line = [(i * 1000, float(i)) for i in range(4000)]
    result = Engine().range(
        Memory({series("x"): line}), "quantile_over_time(0.5, x[1000s])", 1_000_000, 3_999_000, 1000
    )
    assert result.present is not None
    assert bool(result.present.all())
    assert np.array_equal(result.values[0], np.arange(1000, 4000) - 499.5)
