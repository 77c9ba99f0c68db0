"""Many points at once: the same text as one by one, or none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import Labels
from prom_probe.promql.result import Result
from prom_probe.web.api.json_result import number, result_json, timestamp
from prom_probe.web.api.points import points

NOW_MS = 1_790_000_000_000

# Thousandths of each length, and those that have zeros in them.
_THOUSANDTHS = st.one_of(
    *(st.integers(0, 10**digits - 1) for digits in range(1, 16)),
    st.sampled_from([0, 1, 10, 100, 1000, 10**7, 10**7 - 1, 10**7 + 1, 10**11, 10**11 + 10**4, 10**15 - 1]),
)


def written(times: Any, values: Any) -> bytes:
    """Point by point."""
    pairs = zip(times.tolist(), values.tolist(), strict=True)
    return b"".join(b'"],[%s,"%s' % (timestamp(t), number(value).encode()) for t, value in pairs)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(10**12, 10**13 - 10**9),
    st.lists(st.tuples(st.sampled_from([1, 500, 1000, 15_000]), _THOUSANDTHS, _THOUSANDTHS), min_size=1, max_size=30),
)
def test_all_that_three_decimals_stand_for(first: int, rows: list[tuple[int, int, int]]) -> None:
    """At times with and without milliseconds, several series at once."""
    steps, *thousandths = (np.array(column) for column in zip(*rows, strict=True))
    times = first + np.cumsum(steps)
    values = np.array(thousandths) / 1000
    assert points(times, values) == [written(times, row) for row in values]


@pytest.mark.parametrize("digits", range(1, 16))
def test_every_length(digits: int) -> None:
    """The smallest and the largest number of so many digits, and some between them."""
    source = np.random.default_rng(digits)
    low, high = 10 ** (digits - 1), 10**digits
    thousandths = [low, low + 1, high - 1, *source.integers(low, high, 50).tolist()]
    values = np.array([thousandths]) / 1000
    times = NOW_MS + 1000 * np.arange(values.shape[1])
    assert points(times, values) == [written(times, values[0])]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats() | _THOUSANDTHS.map(lambda n: n / 1000), min_size=1, max_size=4))
def test_any_floats_are_right_or_left_to_others(values: list[float]) -> None:
    """NaN, infinities, -0 and numbers with more digits among them."""
    row = np.array(values)
    times = NOW_MS + np.arange(len(row))
    assert points(times, row[None]) in (None, [written(times, row)])


@pytest.mark.parametrize(
    "value", [-0.0, -1.0, 0.0001, 0.1 + 0.2, 1 / 3, 1e12, 1e300, 5e-324, math.nan, math.inf, -math.inf]
)
def test_what_is_left_to_others(value: float) -> None:
    """Alone or among others."""
    for row in ([value], [1.0, value, 2.5]):
        assert points(NOW_MS + np.arange(len(row)), np.array([row])) is None


@pytest.mark.parametrize("times", [[-1], [0], [10**12 - 1, 10**12], [10**13 - 1, 10**13]])
def test_times_that_have_not_ten_digits(times: list[int]) -> None:
    assert points(np.array(times), np.ones((1, len(times)))) is None


@pytest.mark.parametrize("steps", [1, 240, 1023, 1024, 4096, 4097, 9000])
@pytest.mark.parametrize("step_ms", [1000, 1500])
def test_an_answer_is_the_same_with_them(steps: int, step_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Series at steps and with times of their own; some have numbers that are left to others."""
    labels: list[Labels] = [(("i", str(i)),) for i in range(40)]
    times = NOW_MS + step_ms * np.arange(steps)
    values = np.arange(40.0 * steps).reshape(40, steps) / 8
    values[23, steps // 2] = 1 / 3
    present = np.ones(values.shape, np.bool_)
    results = [Result("matrix", labels, times, values, present, complete) for complete in (True, False)]
    results.append(Result("matrix", labels, raw=[(times, row) for row in values]))
    whole = [b"".join(result_json(result)) for result in results]
    monkeypatch.setattr("prom_probe.web.api.json_result._MANY", 1 << 60)
    assert [b"".join(result_json(result)) for result in results] == whole
