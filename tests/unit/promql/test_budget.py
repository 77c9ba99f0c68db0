"""A query's budget: what queries hold together stays within the limit, to the byte, however it is booked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.promql.budget import Accountant, Budget
from prom_probe.promql.result import QueryError

_LIMIT = 1_000_000


def _budget(accountant: Accountant) -> Budget:
    return Budget(accountant, 10, 1000)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 300_000)), max_size=40))
def test_what_is_held_is_booked(steps: list[tuple[int, int]]) -> None:
    """Two queries take and give back: a refusal only where both together would hold more than there is."""
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


def test_a_query_gives_way_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every five milliseconds, not before; a short one never."""
    now, slept = [50.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(now[0] - 50, 6))
        now[0] += seconds

    monkeypatch.setattr("prom_probe.promql.budget.time.monotonic", lambda: now[0])
    monkeypatch.setattr("prom_probe.promql.budget.time.sleep", sleep)
    budget = _budget(Accountant(_LIMIT))
    for _ in range(180):
        now[0] += 0.0001
        budget.check()
    assert slept == [
        pytest.approx(0.005, abs=0.0002),
        pytest.approx(0.01, abs=0.0003),
        pytest.approx(0.015, abs=0.0005),
    ]


def test_one_query_may_have_all_there_is() -> None:
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
    """As long as somebody has the booking."""
    accountant = Accountant(_LIMIT)
    budget = _budget(accountant)
    budget.hold(500)
    budget.release()
    booking = budget.leave(300)
    assert accountant.used == 300
    del booking
    assert accountant.used == 0
