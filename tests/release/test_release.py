"""What publishes: the workflows are valid, and the version is one everywhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from prom_probe import __version__
from tests.deploy.tools import DEPLOY, ROOT, python_with, run
from tests.support.waiting import DEADLINE_S

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
NOTES = DEPLOY / "release" / "notes.py"


def test_the_workflows_are_githubs() -> None:
    """By the schemas that come with check-jsonschema; they would tell a misspelt key."""
    check = [*python_with("check-jsonschema==0.39.0"), "-m", "check_jsonschema", "--builtin-schema"]
    run([*check, "vendor.dependabot", GITHUB / "dependabot.yml"])
    check.append("vendor.github-workflows")
    run([*check, *WORKFLOWS])
    broken = WORKFLOWS[0].read_text().replace("runs-on", "run-on")
    done = subprocess.run([*check, "-"], input=broken, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode != 0


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(file: Path) -> None:
    """A tag can be moved to other code; the comment says which release the commit is."""
    used = re.findall(r"uses: (.+)", file.read_text())
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_what_the_workflows_run_is_there() -> None:
    """Files and targets of the checkout; every job has the least permissions, and no password but GitHub's own."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for file in WORKFLOWS:
        text = file.read_text()
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        assert set(re.findall(r"secrets\.(\w+)", text)) <= {"GITHUB_TOKEN"}
        for name in re.findall(r"(?:deploy/|\.ci/)[\w./-]+", text):
            assert (ROOT / name).exists(), name
        assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= set(targets)


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notes", NOTES)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n- next\n\n## {version} (2026-11-30)\n\n- this\n- that\n\n## 0.0.1\n\n- old\n"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that a version is in, as they are here."""
    for name in module().PLACES:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def test_a_release_is_the_newest_heading(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its version and its notes, without those before and after it."""
    (checkout / "CHANGELOG.md").write_text(CHANGELOG.format(version=__version__))
    assert module().main(["--version"], checkout) == 0
    assert module().main([], checkout) == 0
    assert capsys.readouterr().out == f"{__version__}\n- this\n- that\n"


@pytest.mark.parametrize(
    ("changelog", "said"),
    [
        ("# Changelog\n\n## Unreleased\n", "no heading with a version"),
        (CHANGELOG.format(version="9.9.9"), f"prom_probe/__init__.py says {__version__}"),
    ],
)
def test_a_release_that_is_not_one_is_refused(
    changelog: str, said: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 1 and the reason."""
    (checkout / "CHANGELOG.md").write_text(changelog)
    assert module().main(["--version"], checkout) == 1
    assert said in capsys.readouterr().err


def test_it_runs_where_nothing_is_installed() -> None:
    """As the workflow starts it: by the system's Python, from the checkout."""
    done = subprocess.run([sys.executable, "-I", NOTES, "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == __version__ or "no heading with a version" in done.stderr
