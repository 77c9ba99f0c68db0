"""High quantiles from the largest values of stretches, compared with those of whole windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.series import Whole
from prom_probe.promql.functions.high_quantiles import fill_high_quantiles
from prom_probe.promql.quantile import quantile
from prom_probe.promql.values import Floats
from prom_probe.promql.windows import Windows, make_windows


def _windows(values: Floats, step: int, length: int) -> Windows:
    """Windows of `length` samples that end every `step` samples, from before the first sample to after the last."""
    times = np.arange(values.shape[1]) * 1000
    ends = np.arange(-2000, (values.shape[1] + length) * 1000, step * 1000)
    return make_windows(times[np.newaxis], Whole(values), len(values), None, ends, length * 1000, lambda: None)


def _plain(windows: Windows, q: Floats) -> Floats:
    out = np.zeros(windows.shape)
    for block in windows.blocks():
        out[block.place] = quantile(block.values.copy(), q[block.place[1]])
    return out


@given(
    st.integers(0, 2**32), st.integers(5, 40), st.integers(20, 130), st.sampled_from([0.75, 0.9, 0.95, 0.99, 0.999, 1])
)
@settings(max_examples=200)
def test_high_quantiles_are_those_of_the_whole_windows(seed: int, step: int, length: int, q: float) -> None:
    """For any length and distance of windows; most of these combinations take the short way."""
    source = np.random.default_rng(seed)
    values = source.normal(size=(3, 700))
    values = [values, np.round(values, 1), np.where(values > 1, np.inf, np.where(values < -1, -np.inf, values))][
        seed % 3
    ]
    windows = _windows(values, step, length)
    wanted = np.full(windows.shape[1], float(q))
    out = np.full(windows.shape, np.nan)
    with np.errstate(invalid="ignore"):  # infinities
        steps = fill_high_quantiles(windows, wanted, out)
        plain = _plain(windows, wanted)
    if steps is not None:
        assert steps.tolist() == [
            w for w, end in enumerate(windows.end[0]) if end and windows.first[0, w] == max(end - length, 0)
        ]
        np.testing.assert_array_equal(out[:, steps], plain[:, steps])
    else:
        assert np.isnan(out).all()


@pytest.mark.parametrize(
    ("step", "length", "q", "taken"), [(15, 300, 0.99, True), (15, 300, 0.5, False), (15, 20, 0.99, False)]
)
def test_when_the_short_way_is_taken(step: int, length: int, q: float, taken: bool) -> None:
    """Where few of a stretch's values are needed, and windows are made of several stretches."""
    windows = _windows(np.random.default_rng(1).normal(size=(2, 1000)), step, length)
    out = np.zeros(windows.shape)
    assert (fill_high_quantiles(windows, np.full(windows.shape[1], q), out) is not None) == taken


def test_missing_samples() -> None:
    """Windows that lack one are left to the plain way; those after it are not."""
    values = np.random.default_rng(1).normal(size=(2, 2000))
    times = np.delete(np.arange(2002), [700, 1502]) * 1000
    ends = np.arange(0, 2_000_001, 15_000)
    windows = make_windows(times[np.newaxis], Whole(values), 2, None, ends, 300_000, lambda: None)
    q, out = np.full(len(ends), 0.99), np.zeros(windows.shape)
    steps = fill_high_quantiles(windows, q, out)
    assert steps is not None
    lacking = ((700_000, 1_000_000), (1_502_000, 1_802_000))  # ends of windows
    whole = [w for w, end in enumerate(ends.tolist()) if not any(first <= end < last for first, last in lacking)]
    assert sorted(steps.tolist()) == whole
    np.testing.assert_array_equal(out[:, steps], _plain(windows, q)[:, steps])


def test_late_samples() -> None:
    """A window that gets or loses one at its end is taken the plain way, those between are not."""
    source = np.random.default_rng(1)
    values, times = source.normal(size=(2, 2000)), np.arange(2000) * 1000 + source.integers(0, 20, 2000)
    ends = np.arange(0, 2_000_000, 15_000)
    windows = make_windows(times[np.newaxis], Whole(values), 2, None, ends, 300_000, lambda: None)
    q, out = np.full(len(ends), 0.99), np.zeros(windows.shape)
    steps = fill_high_quantiles(windows, q, out)
    assert steps is not None
    assert len(steps) > 100
    np.testing.assert_array_equal(out[:, steps], _plain(windows, q)[:, steps])


def test_values_that_are_no_numbers_take_the_plain_way() -> None:
    """NaN counts as the smallest value, unlike in a partition."""
    values = np.random.default_rng(1).normal(size=(2, 1000))
    values[1, 500] = np.nan
    windows = _windows(values, 15, 300)
    assert fill_high_quantiles(windows, np.full(windows.shape[1], 0.99), np.zeros(windows.shape)) is None
