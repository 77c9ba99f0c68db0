"""`run --budget`: the exit status, and the lines on stderr."""

from __future__ import annotations

import pytest

from tests.support.sidecar import FREE, command

RUN = ("run", f"--web.listen-address={FREE}", "--api.listen-address=")
LINE = "prom-probe: budget exceeded: "


@pytest.mark.parametrize(
    ("budgets", "code", "status", "exceeded"),
    [
        (["memory=1GiB", "cpu=1m", "duration=1m"], "0", 0, []),
        (["memory=1MiB", "cpu=1ms", "duration=1m"], "0", 3, ["memory", "cpu"]),
        (["duration=100ms"], "7", 7, ["duration"]),
    ],
)
def test_a_budget_decides_where_command_succeeds(
    budgets: list[str], code: str, status: int, exceeded: list[str]
) -> None:
    """A line for each that was exceeded; COMMAND's own failure goes first."""
    flags = [f"--budget={budget}" for budget in budgets]
    work = f"import sys, time; b = bytes(50 << 20); time.sleep(1.2); sys.exit({code})"
    done = command(*RUN, *flags, "--", "python3", "-c", work)
    assert done.returncode == status, done.stderr
    lines = [line.removeprefix(LINE) for line in done.stderr.splitlines() if line.startswith(LINE)]
    assert [line.split()[0] for line in lines] == exceeded


def test_a_budget_needs_a_command() -> None:
    """There is nothing that could fail without one."""
    done = command("run", "--budget=cpu=1s")
    assert done.returncode == 2 and done.stderr == "prom-probe: --budget needs a COMMAND\n"
