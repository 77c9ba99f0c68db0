"""The page's modules without a browser, by node's own test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from prom_probe.web.page.static import FOLDER
from tests.support.programs import program
from tests.support.waiting import DEADLINE_S

HERE = Path(__file__).with_name("page")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules and their tests, where node takes both for modules."""
    made = tmp_path_factory.mktemp("page")
    shutil.copytree(FOLDER, made / "static")
    shutil.copytree(HERE, made / "tests")
    (made / "package.json").write_text('{"type": "module"}')
    return made


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.js")))
def test_modules(folder: Path, name: str) -> None:
    """Each file's tests pass."""
    done = subprocess.run(
        [program("node"), "--test", str(folder / "tests" / name)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TZ": "Asia/Kolkata"},
    )
    assert done.returncode == 0, done.stdout
    assert "pass 0" not in done.stdout
