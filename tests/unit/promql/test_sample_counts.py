"""How many samples a query uses and reads, step by step."""

import pytest

from prom_probe.model.feature import Feature
from prom_probe.promql.engine import Engine
from prom_probe.promql.limits import QueryLimits
from tests.support.promql_tools import Memory, series

# A lookback of 30 s, which extended ranges read on both sides.
LIMITS = QueryLimits(lookback_delta_ms=30_000, features=frozenset(Feature))
# Two series with a sample each second for a minute, together and apart.
STORES = [
    Memory({series("x", i=i): [(1000 * n, float(n)) for n in range(61)] for i in "ab"}, together=together)
    for together in (True, False)
]

# Expression -> samples used, and read, at 20, 30 and 40 s.
COUNTS = [
    ("x", [2, 2, 2], [2, 2, 2]),
    ("x offset 1m", [0, 0, 0], [0, 0, 0]),
    ("x + x", [4, 4, 4], [4, 4, 4]),
    ("count_over_time(x[5s])", [10, 10, 10], [10, 10, 10]),
    ("count_over_time(x[20s])", [40, 40, 40], [40, 20, 20]),
    ("count_over_time(x[25s])", [42, 50, 50], [42, 20, 20]),
    ("count_over_time(x[20s] @ 20)", [40, 40, 40], [40, 0, 0]),
    ("sum(x @ 20)", [2, 2, 2], [2, 0, 0]),
    ("timestamp(x)", [2, 2, 2], [2, 2, 2]),
    ("max_over_time(x[20s:10s])", [4, 4, 4], [4, 2, 2]),
    ("max_over_time(x[4s:5s])", [2, 2, 2], [2, 2, 2]),
    ("max_over_time(x[20s:10s] @ 20)", [4, 4, 4], [4, 0, 0]),
    ("rate(x[5s] anchored)", [42, 62, 70], [42, 20, 20]),
    ("x smoothed", [102, 120, 100], [102, 20, 0]),
    ("1", [0, 0, 0], [0, 0, 0]),
]


@pytest.mark.parametrize(("expr", "total", "read"), COUNTS)
@pytest.mark.parametrize("store", STORES, ids=["together", "apart"])
def test_counts(store: Memory, expr: str, total: list[int], read: list[int]) -> None:
    """A sample is used at each step whose window has it, and read at the first."""
    counts = Engine(LIMITS).range(store, expr, 20_000, 40_000, 10_000, counted=True).counts
    assert counts is not None
    assert (counts.times.tolist(), counts.total.tolist(), counts.read.tolist()) == (
        [20_000, 30_000, 40_000],
        total,
        read,
    )


@pytest.mark.parametrize("store", STORES, ids=["together", "apart"])
def test_instant_queries(store: Memory) -> None:
    """Raw samples count too; without being asked there are no counts."""
    raw = Engine().instant(store, "x[20s]", 40_000, counted=True).counts
    assert raw is not None
    assert (raw.total.tolist(), raw.read.tolist()) == ([40], [40])
    assert Engine().instant(store, "x", 40_000).counts is None
