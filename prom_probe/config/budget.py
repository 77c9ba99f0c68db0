"""How settings write what a run of COMMAND may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from prom_probe.config.units import format_duration, format_size, human_duration, human_size, parse_duration, parse_size

BUDGET_HELP = "memory=SIZE, cpu=DURATION or duration=DURATION"


class BudgetKind(NamedTuple):
    """How a limit is read, written, and shown to people."""

    parse: Callable[[str], float]
    format: Callable[[float], str]
    show: Callable[[float], str]


KINDS = {
    "memory": BudgetKind(parse_size, lambda limit: format_size(round(limit)), human_size),
    "cpu": BudgetKind(parse_duration, format_duration, human_duration),
    "duration": BudgetKind(parse_duration, format_duration, human_duration),
}


class RunBudget(NamedTuple):
    """At most `limit` of `kind`, a key of KINDS: bytes of the tree's peak memory, CPU seconds, seconds."""

    kind: str
    limit: float

    def __str__(self) -> str:
        return f"{self.kind}={KINDS[self.kind].format(self.limit)}"


def parse_budget(text: str) -> RunBudget:
    """`memory=2GiB`, `cpu=10m` or `duration=1h`."""
    kind, equals, limit = text.partition("=")
    if not equals or kind not in KINDS:
        raise ValueError(f"not {BUDGET_HELP}: {text!r}")
    return RunBudget(kind, KINDS[kind].parse(limit))


def check_budgets(budgets: Sequence[RunBudget]) -> None:
    """Raise ValueError if there are two of a kind."""
    for i, budget in enumerate(budgets):
        if budget.kind in [other.kind for other in budgets[:i]]:
            raise ValueError(f"two budgets for {budget.kind}")
