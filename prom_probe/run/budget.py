"""Whether COMMAND has kept to its budgets."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.config.budget import KINDS, RunBudget
from prom_probe.run.command import CommandExit
from prom_probe.run.summary import UsedByTree

# The exit status if COMMAND itself has succeeded.
OVER_BUDGET = 3


def compare_with_budgets(budgets: Sequence[RunBudget], ended: CommandExit, used: UsedByTree) -> tuple[list[str], bool]:
    """A line for each budget that was exceeded or cannot be checked, and whether any was exceeded."""
    figures = {"memory": used.peak_bytes, "cpu": used.cpu_seconds, "duration": ended.duration_s}
    lines, exceeded = [], False
    for kind, limit in budgets:
        value, show = figures[kind], KINDS[kind].show
        if value is None:
            lines.append(f"prom-probe: budget of {show(limit)} {kind} not checked: it was not measured")
        elif value > limit:
            lines.append(f"prom-probe: budget exceeded: {kind} {show(value)}, at most {show(limit)}")
            exceeded = True
    return lines, exceeded
