"""The house's walls: which room may import which, how files begin, and how long they get."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "prom_probe"

# ARCHITECTURE.md has the same table. A room may always import itself. "*" is everything.
MAY_IMPORT = {
    "model": "",
    "sources": "",
    "config": "model",
    "log": "",
    "demo": "",
    "ring": "model",
    "tsdb": "model",
    "promql": "model",
    "exposition": "model",
    "collectors": "model sources",
    "probe": "collectors config ring sources",
    "remote": "log model tsdb web",
    "web": "exposition log model promql remote tsdb",
    "aggregate": "config log model remote ring run tsdb web",
    "run": "*",
    "cli": "*",
    "__main__": "cli",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The room of a file: its folder, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, room) of each import of the house."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "prom_probe" else [module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "prom_probe" and len(parts) > 1 and not parts[1].startswith("__"):
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    """Data flows forward; a probe never loads tsdb, promql or web."""
    if path == PACKAGE / "__init__.py":
        return
    allowed = MAY_IMPORT[room(path)]
    for line, target in imports(path):
        assert allowed == "*" or target in (room(path), *allowed.split()), f"{path}:{line} imports {target}"


def test_every_room_is_in_the_table() -> None:
    """A new room gets a row."""
    assert {room(path) for path in FILES} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_says_what_it_is_for_and_stays_short(path: Path) -> None:
    """The first line is a docstring; no file has more than 600 lines."""
    text = path.read_text()
    assert text.startswith('"""'), f"{path} does not begin with its purpose"
    assert text.count("\n") <= 600


def test_every_dependency_has_its_reason() -> None:
    """Each runtime dependency has a line in ARCHITECTURE.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "ARCHITECTURE.md").read_text()
    for requirement in project["dependencies"]:
        name = requirement.split(">")[0]
        assert f"| {name} |" in reasons, f"{name} has no reason in ARCHITECTURE.md"


def test_the_supervisor_is_light() -> None:
    """What `run` imports before its forks holds no driver, loop, array or query package."""
    import subprocess

    heavy = [
        "numpy",
        "asyncio",
        "psutil",
        "pynvml",
        "promql_parser",
        "prometheus_client",
        "httptools",
        "yaml",
        "logging",
    ]
    heavy += ["click", "concurrent.futures"]
    code = "import sys, prom_probe.run.main, prom_probe.run.wiring; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(heavy) & set(loaded)


def test_nothing_of_scraping_is_loaded_or_made_without_targets() -> None:
    """Before the forks: no module of it, no slot, no bell, and no ring in the room that is kept for one."""
    import subprocess

    code = """
import sys
from prom_probe.run import wiring
from prom_probe.config.settings import Config
from prom_probe.log import Log
wiring._load_probes()
shared = wiring.Shared(Config(), Log("error"))
print(any(shared.rings["scrape"][:256]), "scrape" in shared.slots, "scrape" in shared.wakes, *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *made, names = done.stdout.split(maxsplit=3)
    assert made == ["False"] * 3
    wanted = re.compile("scrape|http_page|prometheus_client|httptools")
    assert [name for name in names.split() if wanted.search(name)] == []
