"""Counters of the kernel's that fall now and then: what is shown does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.collectors.system.rising_counters import RisingCounters


@given(numbers=st.lists(st.integers(0, 1000), max_size=20), at=st.integers(0, 20))
def test_they_never_fall_and_gain_what_the_kernel_counts(numbers: list[int], at: int) -> None:
    """A successor goes on; a larger fall leaves them where they are, from where each gain counts."""
    counters = RisingCounters(1, most_back=10)
    shown, high, expected = 0, 0, 0  # high: what the kernel's number has to exceed to count
    for i, number in enumerate(numbers):
        if i == at:
            successor = RisingCounters(1, most_back=10)
            successor.restore(counters.save())
            counters = successor
        if high - number > 10:
            high = number
        elif number > high:
            expected, high = expected + number - high, number
        (now,) = counters.read([number])
        assert now == expected >= shown
        shown = now


def test_a_fall_of_just_so_much_is_waited_out() -> None:
    """One more is not."""
    for fall, later in ((10, 100), (11, 101)):
        counters = RisingCounters(1, most_back=10)
        for number, shown in ((100, 100), (100 - fall, 100), (101 - fall, later)):
            assert counters.read([number]) == [shown]


def test_each_is_by_itself() -> None:
    """One falls, another rises."""
    counters = RisingCounters(2, most_back=10)
    assert counters.read([100, 100]) == [100, 100]
    assert counters.read([50, 101]) == [100, 101]
    assert counters.read([51, 99]) == [101, 101]


@pytest.mark.parametrize("state", [None, 7, [[1], [2, 3]], [[1, 2], [3]], [["a", "b"], [1, 2]], [[1], [1]]])
def test_another_state_is_left_alone(state: object) -> None:
    """As that of another version."""
    counters = RisingCounters(2, most_back=10)
    counters.restore(state)
    assert counters.read([5, 6]) == [5, 6]
