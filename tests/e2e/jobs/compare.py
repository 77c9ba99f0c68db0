"""Plays a scenario bare and wrapped, and tells what differs.

In a scenario COMMAND is written `$W COMMAND`; W is empty when bare, so that shells show the same text for a job. Each
process carries a mark in its environment, by which what remains is found and ended.
"""

from __future__ import annotations

import difflib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence

from tests.e2e.jobs import applications, keys, lines, sent, terminals  # noqa: F401 - they fill the table
from tests.e2e.jobs.scenarios import SCENARIOS, Play
from tests.e2e.jobs.trial import Trial, VainError

_FLAGS = "--log.level=error --run.keep=0 --web.listen-address= --api.listen-address="
WRAP = shlex.split(os.environ.get("WRAP", f"{os.path.dirname(sys.executable)}/prom-probe run {_FLAGS} --"))

# A busy machine is no fault of ours: a difference is tried so often before it counts.
TRIES = int(os.environ.get("TRIES", "3"))

# What may differ, and why; docs/wrap-a-command.md says so too.
EXPECTED = {
    "in-ignored-pipe": "Python ignores SIGPIPE from its start: whether it was ignored before is not to be seen",
    "app-setsid": "setsid forks where it leads a process group; wrapped, it leads none",
}


def difference(name: str, wrap: Sequence[str] = WRAP, tries: int = TRIES) -> list[str]:
    """Lines of a diff between the two runs; none if they are the same at least once."""
    found: list[str] = []
    for _ in range(tries):
        bare, wrapped = (_play(SCENARIOS[name].play, each) for each in ((), wrap))
        found = list(difflib.unified_diff(bare, wrapped, "bare", "wrapped", lineterm="", n=1))
        if not found:
            break
    return found


def forget_dispositions() -> None:
    """What this process ignores must not be inherited."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, 32, 33}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _play(play: Play, wrap: Sequence[str]) -> list[str]:
    trial = Trial(wrap)
    try:
        play(trial)
    except VainError as vain:
        trial.note("waited in vain for", vain)
    except (OSError, subprocess.TimeoutExpired) as error:
        trial.note("error", type(error).__name__)
    finally:
        trial.finish()
    return "\n".join(trial.notes).split("\n")
