"""The Dockerfile, as far as it can be checked without an engine."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from prom_probe import __version__
from tests.deploy.image import DOCKERFILE, ignored, read_stages
from tests.deploy.tools import ROOT
from tests.support.waiting import DEADLINE_S

STAGES = read_stages(DOCKERFILE.read_text())
# The base is not fetched here: its published size (amd64, compressed), rounded up.
BASE_MB, BUDGET_MB = 45, 120


def test_the_last_stage_is_not_root_and_runs_nothing() -> None:
    """Two stages of the same base; the second only copies, and names its user by number."""
    before, first, last = STAGES
    assert [step.word for step in before] == ["ARG"]
    assert first[0].rest.removesuffix(" AS build") == last[0].rest == "python:${PYTHON}"
    words = [step.word for step in last]
    assert not {"RUN", "ADD", "HEALTHCHECK", "VOLUME"} & set(words)
    (user,) = (step.rest for step in last if step.word == "USER")
    assert all(int(number) >= 10_000 for number in user.split(":"))
    assert [step.rest for step in last if step.word == "ENTRYPOINT"] == ['["prom-probe"]']


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("prom_probe/cli/main.py", False),
        ("pyproject.toml", False),
        ("README.md", False),
        ("grafana/dashboards/tree.json", False),
        ("grafana/build.py", True),
        ("prom_probe/tsdb/__pycache__/store.pyc", True),
        (".git/config", True),
        (".venv/bin/python", True),
        ("tests/deploy/image.py", True),
        ("docs/README.md", True),
    ],
)
def test_the_context_is_what_the_image_is_made_of(path: str, out: bool) -> None:
    """By .dockerignore."""
    assert ignored(path, (ROOT / ".dockerignore").read_text()) is out


def test_its_steps_make_a_program_that_runs(image: Path) -> None:
    """Replayed in a folder: wheels alone, bytecode for a read-only root, what is pruned is not missed, small enough."""
    site = next(image.glob("lib/python*/site-packages"))
    assert not list(site.rglob("*.egg-link"))
    assert not [one for one in site.rglob("tests") if one.is_dir()]
    env = {"PATH": os.environ["PATH"], "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"}
    env["PYTHONPYCACHEPREFIX"] = str(image / "bytecode")
    assert "PYTHONPYCACHEPREFIX=/opt/prom-probe/bytecode" in DOCKERFILE.read_text()
    done = subprocess.run(
        [image / "bin" / "python", "-v", "-m", "prom_probe", "version"],
        cwd="/",
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert "code object from" in done.stderr
    assert not re.findall(r"code object from (?:'?)(\S+\.py)\b", done.stderr), "compiled at the start"
    done = subprocess.run(
        [image / "bin" / "prom-probe", "version"], cwd="/", env=env, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert __version__ in done.stdout, done
    imports = "import numpy, cramjam, prom_probe.promql.engine, prom_probe.web.http.server, prom_probe.demo"
    done = subprocess.run(
        [image / "bin" / "python", "-c", imports], cwd="/", env=env, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=2) as archive:
        archive.add(image, "opt/prom-probe")
    size_mb = len(packed.getvalue()) / 1e6
    print(f"{size_mb:.1f} MB compressed")
    assert size_mb + BASE_MB < BUDGET_MB
