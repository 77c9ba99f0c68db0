"""Commands that need no other process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prom_probe", *args]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=30)


def test_check_config_names_every_fault(tmp_path: Path) -> None:
    """One line each with file, line and key; status 2."""
    file = tmp_path / "settings.yaml"
    file.write_text("interval: soon\nquery:\n  timeout: 5s\n  timeot: 5s\n")
    done = _run("check-config", str(file))
    assert done.returncode == 2 and not done.stdout
    first, second = done.stderr.splitlines()
    assert first.startswith(f"prom-probe: {file}: line 1: interval: not a duration")
    assert second == f"prom-probe: {file}: line 4: query.timeot: unknown key"


def test_check_config_says_ok(tmp_path: Path) -> None:
    """And nothing else."""
    file = tmp_path / "settings.yaml"
    file.write_text("interval: 2s\n")
    assert (_run("check-config", str(file)).stdout, _run("check-config", str(file)).returncode) == (f"{file}: ok\n", 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_asks_us(shell: str) -> None:
    """What it calls is what click answers."""
    done = _run("completion", shell)
    assert done.returncode == 0 and f"_PROM_PROBE_COMPLETE={shell}_complete" in done.stdout


def test_flags_complete() -> None:
    """As bash asks for them."""
    done = _run(_PROM_PROBE_COMPLETE="bash_complete", COMP_WORDS="prom-probe run --query.t", COMP_CWORD="2")
    assert done.stdout.split() == ["plain,--query.timeout"]
