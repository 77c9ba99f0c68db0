"""Standard streams that are closed, full or not read: COMMAND is as without us, and nothing ends with a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.sidecar import FREE, children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for

PROM_PROBE = (sys.executable, "-m", "prom_probe")
RUN = (*PROM_PROBE, "run", f"--web.listen-address={FREE}", "--api.listen-address=", "--")
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


def shell(argv: Sequence[str], redirection: str) -> subprocess.CompletedProcess[str]:
    """Run with a shell's redirection, such as `2>&-`."""
    line = f"{shlex.join(argv)} {redirection}"
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=DEADLINE_S)


@pytest.mark.parametrize("redirection", [*CLOSED, ">/dev/full", "2>/dev/full"])
def test_command_ends_as_without_us(redirection: str) -> None:
    """With its exit status."""
    ended = shell([*RUN, "sh", "-c", "exit 7"], redirection)
    assert ended.returncode == 7
    assert "Traceback" not in ended.stderr + ended.stdout


def test_command_ends_as_without_us_if_nobody_reads_stderr() -> None:
    """A closed pipe."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    assert subprocess.run([*RUN, "sh", "-c", "exit 7"], stderr=write_fd, timeout=DEADLINE_S).returncode == 7
    os.close(write_fd)


@pytest.mark.parametrize("redirection", CLOSED)
def test_command_has_the_descriptors_that_it_would_have_without_us(redirection: str, tmp_path: Path) -> None:
    """What was closed is closed, although it is not for us: else the next thing that we open would get its number."""
    out = tmp_path / "open"
    script = f"for fd in 0 1 2; do test -e /proc/self/fd/$fd && echo $fd >>{out}; done; exit 0"
    found = []
    for prefix in (), RUN:
        assert shell([*prefix, "sh", "-c", script], redirection).returncode == 0
        found.append(out.read_text() if out.exists() else "")
        out.unlink(missing_ok=True)
    assert found[1] == found[0]


def test_our_own_descriptors_are_open(tmp_path: Path) -> None:
    """In the supervisor and in each worker, so that no log line goes to something else."""
    command = shlex.join([*RUN, "sleep", "60"])
    supervisor = subprocess.Popen(["sh", "-c", f"exec {command} <&- >&- 2>&-"])
    try:

        def workers() -> list[int]:
            found = {read_comm(pid): pid for pid in children(supervisor.pid)}
            return list(found.values()) if {"pp-process", "pp-system", "pp-aggregator"} <= found.keys() else []

        ours = [pid for pid in wait_for("workers", workers) if read_comm(pid) != "sleep"]
        for pid in [supervisor.pid, *ours]:
            assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}, read_comm(pid)
    finally:
        supervisor.terminate()
        supervisor.wait(DEADLINE_S)


PRINTING = (("once",), ("version",), ("doctor",), ("completion", "bash"), ("--help",), ("run", "--help"))


@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_what_cannot_be_printed_is_an_error_as_for_cat(args: tuple[str, ...], redirection: str) -> None:
    """Exit status 1, and one line that says why."""
    ended = shell([*PROM_PROBE, *args], redirection)
    assert ended.returncode == shell(["cat", "/etc/passwd"], redirection).returncode == 1
    why = {">&-": "Bad file descriptor", ">/dev/full": "No space left on device"}[redirection]
    assert ended.stderr == f"prom-probe: cannot write: {why}\n"


@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
def test_a_reader_that_has_gone_away_is_no_news(args: tuple[str, ...]) -> None:
    """It ends with 1 and says nothing, as `| head` has it."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    ended = subprocess.run([*PROM_PROBE, *args], stdout=write_fd, stderr=subprocess.PIPE, timeout=DEADLINE_S)
    os.close(write_fd)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_status(redirection: str) -> None:
    """2 for a usage error."""
    assert shell([*PROM_PROBE, "run", "--nonsense"], redirection).returncode == 2
