"""Budgets: how they are written, and what is said where they are exceeded."""

from __future__ import annotations

import pytest

from prom_probe.config.budget import RunBudget, check_budgets, parse_budget
from prom_probe.run.budget import compare_with_budgets
from prom_probe.run.command import CommandExit
from prom_probe.run.summary import UsedByTree

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("memory=2GiB", RunBudget("memory", 2 << 30)),
        ("cpu=10m", RunBudget("cpu", 600)),
        ("duration=1h", RunBudget("duration", 3600)),
    ],
)
def test_budgets(text: str, budget: RunBudget) -> None:
    """And as settings show them, they are read again."""
    assert parse_budget(text) == parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("memory", "not memory=SIZE, cpu=DURATION or duration=DURATION: 'memory'"),
        ("disk=1GB", "not memory=SIZE"),
        ("memory=2", "not a size"),
        ("cpu=2GB", "not a duration"),
    ],
)
def test_other_budgets_are_refused(text: str, error: str) -> None:
    """What is wrong is named."""
    with pytest.raises(ValueError, match=error):
        parse_budget(text)


def test_there_is_one_budget_of_a_kind() -> None:
    """Else one of them would mean nothing."""
    check_budgets([RunBudget("cpu", 1), RunBudget("memory", 1)])
    with pytest.raises(ValueError, match="two budgets for cpu"):
        check_budgets([RunBudget("cpu", 1), RunBudget("memory", 1), RunBudget("cpu", 2)])


@pytest.mark.parametrize(
    ("budget", "lines"),
    [
        ("memory=300MiB", []),
        ("memory=299MiB", ["budget exceeded: memory 300 MiB, at most 299 MiB"]),
        ("cpu=12s", []),
        ("cpu=11s", ["budget exceeded: cpu 12 s, at most 11 s"]),
        ("duration=1m31s", []),
        ("duration=90s", ["budget exceeded: duration 1m31s, at most 1m30s"]),
    ],
)
def test_what_was_exceeded_is_a_line(budget: str, lines: list[str]) -> None:
    """A limit itself may be used up."""
    ended, used = CommandExit(0, "", 0.0, 0, duration_s=90.6), UsedByTree(12.0, 300 * MIB, None)
    found = compare_with_budgets([parse_budget(budget)], ended, used)
    assert found == ([f"prom-probe: {line}" for line in lines], bool(lines))


def test_what_was_not_measured_is_said_and_is_no_failure() -> None:
    """The memory of a COMMAND that ends at once, for instance."""
    lines, exceeded = compare_with_budgets(
        [RunBudget("memory", MIB)], CommandExit(0, "", 0.0, 0), UsedByTree(0, None, None)
    )
    assert (lines, exceeded) == (["prom-probe: budget of 1 MiB memory not checked: it was not measured"], False)
