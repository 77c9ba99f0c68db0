"""`prom-probe top` before anything is drawn: without its package, without a terminal, without a source."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from prom_probe.cli.error import ClientError
from prom_probe.cli.main import cli
from prom_probe.cli.top.default_source import default_source
from tests.support.stored_runs import make_stored_run

_WITHOUT = "import sys; sys.modules['textual'] = None; from prom_probe.cli.main import main; main(['top'])"


def test_without_textual_it_says_what_to_install() -> None:
    """One line, status 2."""
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prom-probe: top needs the package textual: pip install 'prom-probe[top]'\n"


def test_without_a_terminal_it_draws_nothing() -> None:
    """It says what prints instead."""
    done = CliRunner().invoke(cli, ["top"])
    assert isinstance(done.exception, ClientError) and done.exception.status == 2
    assert "needs a terminal; prom-probe query" in str(done.exception)


def test_the_default_source(tmp_path: Path) -> None:
    """PROM_PROBE_URL; the newest run that goes on; the default API; a line that says what there is."""
    assert default_source({"PROM_PROBE_URL": "unix:api.sock"}) == "unix:api.sock"
    state = {"XDG_STATE_HOME": str(tmp_path)}
    runs = tmp_path / "prom-probe" / "runs"
    os.makedirs(runs)
    make_stored_run(runs / "2026-11-30T14-03-07-train.py")  # it has ended
    with pytest.raises(ClientError, match=r"no answer from http://127.0.0.1:1: .*; prom-probe top @last shows the"):
        default_source(state, "http://127.0.0.1:1")
