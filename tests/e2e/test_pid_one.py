"""As PID 1 of a container: orphans are reaped, SIGTERM ends us, a pod's containers are found by themselves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sidecar import FREE, alive, children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for

ORPHANS = """
import os, sys, time
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    os.wait()
open(sys.argv[1], "w").close()
time.sleep(1000)
"""


def namespace_available() -> bool:
    probe = [shutil.which("unshare") or "false", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(probe, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not namespace_available(), reason="no right to make a PID namespace")


def in_namespace(*args: str) -> subprocess.Popen[bytes]:
    """prom-probe as PID 1 of a PID namespace of its own; its PID here is the one child of the process returned."""
    listen = [f"--web.listen-address={FREE}", "--api.listen-address="]
    command = [sys.executable, "-m", "prom_probe", "run", *listen, *args]
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    return subprocess.Popen([*unshare, *command], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def commands(first: int) -> list[int]:
    """The one child of PID 1 that is COMMAND: alive, and the oldest."""
    return [pid for pid in children(first) if alive(pid) and not read_comm(pid).startswith("pp-")][:1]


def test_orphans_are_reaped_and_a_signal_ends_everything(tmp_path: Path) -> None:
    """Processes whose parents are gone become ours, end, and leave no zombie."""
    done = tmp_path / "done"
    with in_namespace("--", sys.executable, "-c", ORPHANS, str(done)) as outer:
        try:
            wait_for("the orphans", done.exists)
            (first,) = children(outer.pid)
            wait_for(
                "only the command and our workers",
                lambda: [pid for pid in children(first) if not read_comm(pid).startswith("pp-")] == [*commands(first)],
            )
            os.kill(first, signal.SIGTERM)
            assert outer.wait(DEADLINE_S) == 143
        finally:
            outer.kill()


def test_sigterm_ends_a_sidecar_without_a_command() -> None:
    """As PID 1 there is no default action; we have one."""
    with in_namespace(f"--watch=me=pid:{1}") as outer:
        try:
            (first,) = wait_for("prom-probe", lambda: list(children(outer.pid)))
            wait_for("the workers", lambda: sum(read_comm(pid).startswith("pp-") for pid in children(first)) == 3)
            os.kill(first, signal.SIGTERM)
            assert outer.wait(DEADLINE_S) == 0
        finally:
            outer.kill()
