"""A query's budget: what all queries hold stays within the limit, and operators book what they allocate."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.promql.ast import Selector
from prom_probe.promql.budget import Accountant, Budget
from prom_probe.promql.durations import QueryTimes
from prom_probe.promql.evaluation import Evaluator
from prom_probe.promql.parser import parse, selectors
from prom_probe.promql.query import Query
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import Vector
from tests.support.promql_tools import Grid, series

_LIMIT = 1_000_000


def _budget(accountant: Accountant) -> Budget:
    return Budget(accountant, 10, 1000)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 300_000)), max_size=40))
def test_what_is_held_is_booked(steps: list[tuple[int, int]]) -> None:
    """Two queries book and release: refused only if both together would exceed the limit."""
    accountant = Accountant(_LIMIT)
    budgets = [_budget(accountant), _budget(accountant)]
    held = [0, 0]
    peaks = [0, 0]
    for which, target in steps:
        try:
            budgets[which].hold_only(target)
        except QueryError as error:
            assert error.kind == "execution"
            assert target > held[which]
            assert accountant.used + target - held[which] > _LIMIT
        else:
            held[which] = target
            peaks[which] = max(peaks[which], target)
        assert [budget.held for budget in budgets] == held
        assert [budget.peak for budget in budgets] == peaks
        assert sum(held) <= accountant.used <= min(_LIMIT, sum(held) + 4 * 65536)
    for budget in budgets:
        budget.release()
    assert accountant.used == 0


def test_a_query_gives_way_now_and_then() -> None:
    """Every five milliseconds, not before; a short one never."""
    now, slept = [50.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(now[0] - 50, 6))
        now[0] += seconds

    budget = Budget(Accountant(_LIMIT), 10, 1000, lambda: now[0], sleep)
    for _ in range(180):
        now[0] += 0.0001
        budget.check()
    assert slept == [
        pytest.approx(0.005, abs=0.0002),
        pytest.approx(0.01, abs=0.0003),
        pytest.approx(0.015, abs=0.0005),
    ]


def test_one_query_may_use_the_whole_limit() -> None:
    """But not a byte more."""
    accountant = Accountant(_LIMIT)
    budget = _budget(accountant)
    budget.hold(_LIMIT)
    with pytest.raises(QueryError, match="more memory than the 1000000 bytes"):
        budget.hold(1)
    assert (budget.held, accountant.used) == (_LIMIT, _LIMIT)
    budget.release()
    assert accountant.used == 0


def test_a_result_keeps_its_own_bytes() -> None:
    """As long as the booking is referenced."""
    accountant = Accountant(_LIMIT)
    budget = _budget(accountant)
    budget.hold(500)
    budget.release()
    booking = budget.leave(300)
    assert accountant.used == 300
    del booking
    assert accountant.used == 0


class Counted(Budget):
    """A budget that counts how often it is checked."""

    checks = 0

    def check(self) -> None:
        self.checks += 1


class Ready(Evaluator):
    """An evaluator whose selectors have their values already: only operators and functions allocate."""

    def __init__(self, series_count: int, steps: int) -> None:
        times = np.arange(0, 1000 * steps, 1000)
        self.budget = Counted(Accountant(1 << 30), 60, 1 << 40)
        super().__init__(
            Query("", Grid([], [], np.empty((0, 0))), self.budget, 300_000, QueryTimes(0, 1000 * steps, 1000)), times
        )
        random = np.random.default_rng(1)
        self.vectors = {
            name: Vector(
                [
                    series(name, i=str(i), half=str(i % 2), le=str(i % 4) if i % 4 else "+Inf")
                    for i in range(series_count)
                ],
                random.integers(1, 5, (series_count, steps)).astype(float),
                np.ones((series_count, steps), np.bool_),
            )
            for name in "ab"
        }

    def _selector(self, node: Selector) -> Vector:
        return self.vectors[node.matchers[0].value]


# An expression, and whether Python works on its series one by one.
_EXPRESSIONS = [
    ("a or b", True),
    ("a or on(i) b", True),
    ("a and b", True),
    ("a unless on(i) b", True),
    ("a + on(i) b", False),
    ("a > on(i) b", False),
    ("a * on(i) group_left b", True),
    ("sum by (i) (a)", False),
    ("avg without (half) (a)", False),
    ("stddev by (half) (a)", False),
    ("stddev by (i) (a)", True),
    ("quantile by (half) (0.5, a)", False),
    ("topk by (i) (1, a)", True),
    ("bottomk by (half) (1, a)", False),
    ("limitk by (half) (3, a)", False),
    ("count_values by (half) ('v', a)", True),
    ("label_replace(a, 'x', '$1', 'i', '(.*)')", True),
    ("label_join(a, 'x', '-', 'i', 'half')", True),
    ("round(a)", False),
    ("-a", False),
    ("scalar(a)", False),
    ("absent(a)", False),
]

# Small arrays and lists that nobody books, and what numpy allocates for itself.
_UNBOOKED_BYTES = 300_000


@pytest.mark.parametrize(("expr", "one_by_one"), _EXPRESSIONS)
def test_an_operator_books_what_it_allocates(expr: str, one_by_one: bool) -> None:
    """`--query.max-memory` bounds the memory of operators too; those with long loops look at the deadline in them."""
    node = parse(expr)
    Ready(8, 2).eval(node)  # what is loaded and remembered once
    ready = Ready(1000, 300)
    operands = sum(ready.vectors[one.matchers[0].value].nbytes for one in selectors(node))
    tracemalloc.start()
    try:
        ready.eval(node)
        _, allocated = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert allocated <= ready.budget.peak - operands + _UNBOOKED_BYTES
    assert (ready.budget.checks > 1000) is one_by_one
