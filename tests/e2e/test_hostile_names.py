"""Processes whose names would drive a terminal: nothing that the program prints does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sidecar import FREE, command

# A title and a new line with a text of its own; from right to left, and clearing the screen: 15 bytes at most.
_NAMES = ("\x1b]0;x\x07\nFORGED", "\u202egnp\x9b2J\x9bH")
_SLEEP = "import ctypes, sys; ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0); sys.stdin.read()"


def _check(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stdout or done.stderr
    for line in (done.stdout + done.stderr).split("\n"):
        assert line.isprintable() and not line.startswith("FORGED"), repr(line)


@pytest.mark.parametrize("name", _NAMES)
def test_names_of_processes(name: str, tmp_path: Path) -> None:
    """once and doctor as text and JSON, the exit line, and errors that name a path or a flag."""
    with subprocess.Popen([sys.executable, "-c", _SLEEP, name], stdin=subprocess.PIPE) as process:
        watch = f"--watch=a{name}=pid:{process.pid}"
        listen = [f"--web.listen-address={FREE}", f"--api.listen-address={FREE}"]
        for args in (
            ["once", "--interval=10ms", watch],
            ["once", "--json", "--interval=10ms", watch],
            ["doctor", *listen, watch],
            ["doctor", "--json", *listen, watch],
            ["run", *listen, "--", str(tmp_path / name)],
            ["run", *listen, f"--config.file={tmp_path}/{name}"],
            ["run", *listen, f"--storage.tsdb.path={tmp_path}/{name}/x", "--", "true"],
            ["query", f"--storage.tsdb.path={tmp_path}/{name}", "up"],
            ["check-config", f"{tmp_path}/{name}"],
            ["once", f"--log.level={name}"],
            [name],
        ):
            _check(command(*args))
        assert process.stdin is not None
        process.stdin.close()
