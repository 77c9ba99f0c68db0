"""Maxima over a rolling window: what a scrape must not miss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.collectors.window import WindowMax

WINDOW_S = 120.0
STEP_S = WINDOW_S / 32


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 50)), max_size=80), st.floats(0, 300))
def test_the_maximum_is_that_of_the_window_or_of_a_step_more(values: list[tuple[float, int]], wait_s: float) -> None:
    """Nothing of the last two minutes is missed, nothing older than a step before them is told."""
    window = WindowMax(WINDOW_S)
    now, seen = 0.0, []
    for pause, value in values:
        now += pause
        window.add(now, value)
        seen.append((now, value))
        assert window.read(now) == pytest.approx(window.read(now))
    now += wait_s
    within = [value for at, value in seen if at >= now - WINDOW_S]
    about = [value for at, value in seen if at >= now - WINDOW_S - STEP_S]
    got = window.read(now)
    if got is None:
        assert not within
    else:
        assert got in about
        assert got >= max(within, default=0)


@pytest.mark.parametrize("falling", [True, False])
def test_a_window_stays_small(falling: bool) -> None:
    """However many values there are, whichever way they go."""
    window = WindowMax(WINDOW_S)
    for i in range(10_000):
        window.add(i * 0.1, -i if falling else i)
        window.read(i * 0.1)
    assert len(window.save()) <= 33


def test_a_successor_goes_on() -> None:
    """With the same window, on the same clock."""
    window = WindowMax(WINDOW_S)
    window.add(10, 7)
    window.add(50, 5)
    successor = WindowMax(WINDOW_S)
    successor.restore(window.save())
    successor.add(60, 1)
    assert [successor.read(now) for now in (60, 150, 175, 200)] == [7, 5, 1, None]
