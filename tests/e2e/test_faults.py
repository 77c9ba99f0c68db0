"""No system call that fails ends the supervisor, or keeps COMMAND's exit status from being passed on.

A sample; `make faults` has all of them.
"""

from __future__ import annotations

import errno
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.faults import FAULTS, STATUS, build_shim, run_with_fault
from tests.support.sidecar import FREE
from tests.support.waiting import DEADLINE_S

# The first calls of a kind are made before the first worker runs, the last of a short run is about the tenth.
_SAMPLE, _MOST = 8, 10


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("faults"))


def test_a_worker_that_cannot_be_forked_is_forked_later(shim: Path) -> None:
    """That is told, and so is the reload: else a run that survives could be one in which nothing has happened."""
    outcome = run_with_fault(shim, "fork", 2, errno.EAGAIN)
    assert outcome.failed and outcome.survived, outcome
    assert 'msg="worker not started"' in outcome.stderr
    assert 'msg="settings reloaded"' in outcome.stderr


def test_a_run_survives_a_call_that_fails(shim: Path) -> None:
    """COMMAND's status, no traceback, no process left."""
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for _ in range(_SAMPLE):
        call = chance.choice(list(FAULTS))
        nth, number = chance.randint(1, _MOST), chance.choice(list(FAULTS[call]))
        outcome = run_with_fault(shim, call, nth, number)
        assert outcome.survived, (seed, call, nth, errno.errorcode[number], outcome)


@pytest.mark.parametrize("descriptors", [7, 8, 9, 12, 16, 24])
def test_command_runs_however_few_descriptors_there_are(descriptors: int) -> None:
    """From those on that the interpreter itself needs."""
    listen = [f"--web.listen-address={FREE}", "--api.listen-address="]
    argv = [sys.executable, "-m", "prom_probe", "run", *listen, "--", "sh", "-c", f"exit {STATUS}"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    ended = subprocess.run(argv, preexec_fn=limit, capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == STATUS, ended.stderr
    assert "Traceback" not in ended.stderr
