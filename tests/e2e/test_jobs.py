"""A tenth of the scenarios of `make jobs`: COMMAND runs wrapped as it does bare."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from tests.e2e.jobs.compare import EXPECTED, WRAP
from tests.e2e.jobs.scenarios import SCENARIOS, missing
from tests.support.paths import ROOT
from tests.support.waiting import DEADLINE_S

# One of each kind: what is inherited, a key, job control, who is signalled, the end, the streams, the terminal.
ALWAYS = [
    "in-signals",
    "in-nohup",
    "run-plain",
    "io-closed-all",
    "dies-segv",
    "sent-pid",
    "sent-stop-group",
    "left-daemon",
    "c-loop-bash",
    "z-fg-bash",
    "fg-cat-bash",
    "app-bash-bash",
]
_DRAWN = 4

# Each process has its own dispositions, which the test runner's must not be.
_PLAY = """
import json, sys
from tests.e2e.jobs.compare import difference, forget_dispositions
forget_dispositions()
print(json.dumps(difference(sys.argv[1])))
"""


def _chosen(seed: int) -> list[str]:
    others = sorted(SCENARIOS.keys() - EXPECTED.keys() - set(ALWAYS))
    return [*ALWAYS, *random.Random(seed).sample(others, _DRAWN)]


SEED = int.from_bytes(random.Random().randbytes(2))


def test_the_drawn_scenarios_are_different_ones() -> None:
    """Each run tries a few others; those that are expected to differ are none of them."""
    assert len(set(_chosen(1))) == len(ALWAYS) + _DRAWN
    assert _chosen(1) != _chosen(2)
    assert EXPECTED.keys() <= SCENARIOS.keys()
    assert len(EXPECTED) <= 4


@pytest.mark.parametrize("number", range(len(ALWAYS) + _DRAWN))
def test_a_wrapped_command_is_as_a_bare_one(number: int) -> None:
    """Its notes say the same: the screen, statuses, states, what remains."""
    name = _chosen(SEED)[number]
    if why := missing(name, WRAP[0]):
        pytest.skip(f"{name}: {why}")
    argv, env = [sys.executable, "-c", _PLAY, name], {**os.environ, "DEADLINE_S": str(DEADLINE_S)}
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    lines = json.loads(done.stdout)
    assert not lines, f"{name}: {SCENARIOS[name].text}\n" + "\n".join(lines)
