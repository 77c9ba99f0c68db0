"""The table of scenarios, which the modules beside this one fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tests.e2e.jobs.trial import Trial

Play: TypeAlias = Callable[[Trial], None]

# Another user, and what some scenarios cannot be played without.
NOBODY = 65534
_NEEDS = {"app-less": "less", "app-vi": "vi", "use-make": "make", "c-make": "make"}
_NEEDS_ROOT = ("sent-setuid", "app-setuid")


class Scenario(NamedTuple):
    """What happens, and the function that plays it."""

    text: str
    play: Play


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, text: str) -> Callable[[Play], Play]:
    """Decorates the function that plays it."""

    def add(play: Play) -> Play:
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(text, play)
        return play

    return add


def in_shells(name: str, text: str, *shells: str) -> Callable[[Play], Play]:
    """The scenario in each shell: `NAME-SHELL`."""

    def add(play: Play) -> Play:
        for shell in shells:

            def one(t: Trial, shell: str = shell) -> None:
                t.shell(shell)
                play(t)

            scenario(f"{name}-{shell}", f"{text} ({shell})")(one)
        return play

    return add


def missing(name: str, program: str) -> str:
    """Why the scenario cannot be played here, "" if it can. `program`: what it wraps with."""
    needed = "zsh" if name.endswith("-zsh") or name == "c-loop-script" else _NEEDS.get(name)
    if needed and shutil.which(needed) is None:
        return f"there is no {needed}"
    if name in _NEEDS_ROOT and os.getuid():
        return "only root can make a setuid program of root's"
    if name in _NEEDS_ROOT:
        for each in (program, sys.executable):
            if not _runs_for_nobody(each):
                return f"another user cannot execute {each}"
    return ""


def _runs_for_nobody(program: str) -> bool:
    try:
        done = subprocess.run([program, "--version"], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def setuid_tool(t: Trial) -> str:
    """A setpriv that is setuid root: it becomes root for good, as sudo does."""
    tool = os.path.join(t.dir, "setpriv")
    program = shutil.which("setpriv")
    assert program is not None
    shutil.copy(program, tool)
    os.chmod(tool, 0o4755)
    return tool
