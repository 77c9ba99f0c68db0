"""The house's walls: which room may import which, how files begin, and how long they get."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

PACKAGE = ROOT / "prom_probe"

# ARCHITECTURE.md has the same table. A room may always import itself. "*" is everything.
MAY_IMPORT = {
    "model": "",
    "client_connection": "",
    "sources": "client_connection",
    "config": "model",
    "line_writer": "",
    "log": "line_writer model",
    "threads": "",
    "demo": "",
    "ring": "model",
    "worker_threads": "ring",
    "tsdb": "model",
    "history": "model tsdb",
    "promql": "model",
    "exposition": "model",
    "collectors": "model sources",
    "probe": "collectors config model ring sources worker_threads",
    "remote": "config client_connection log model ring threads tsdb worker_threads",
    "web": "exposition history log model promql remote threads tsdb",
    "aggregate": "config history log model promql remote ring threads tsdb web",
    "run": "*",
    "cli": "*",
    "__main__": "cli",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The room of a file: its folder, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


Import = ast.Import | ast.ImportFrom


class Contents(NamedTuple):
    """Of a file, wherever they are: its imports, those of them for type checking alone, and its classes."""

    imports: list[Import]
    for_types: list[Import]
    classes: list[str]


@cache
def contents(path: Path) -> Contents:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    checked = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return Contents(
        [node for node in nodes if isinstance(node, Import)],
        [inner for node in checked for inner in ast.walk(node) if isinstance(inner, Import)],
        [node.name for node in nodes if isinstance(node, ast.ClassDef)],
    )


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, room) of each import of the house."""
    for node in contents(path).imports:
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "prom_probe" else [module]
        else:
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "prom_probe" and len(parts) > 1 and not parts[1].startswith("__"):
                yield node.lineno, parts[1]


def test_a_file_imports_only_what_its_room_may() -> None:
    """Data flows forward; a probe never loads tsdb, promql or web."""
    wrong = []
    for path in FILES:
        allowed = MAY_IMPORT.get(room(path), "*")  # every room is in the table, as the next test says
        for line, target in imports(path):
            if allowed != "*" and target not in (room(path), *allowed.split()):
                wrong.append(f"{path}:{line} imports {target}")
    assert wrong == []


def test_every_room_is_in_the_table() -> None:
    """A new room gets a row."""
    assert {room(path) for path in FILES} - {"__init__"} == set(MAY_IMPORT)


def test_a_file_says_what_it_is_for_and_stays_short() -> None:
    """The first line is a docstring; no file has more than 600 lines."""
    texts = {str(path): path.read_text() for path in FILES}
    assert [path for path, text in texts.items() if not text.startswith('"""')] == []
    assert [path for path, text in texts.items() if text.count("\n") > 600] == []


def test_the_map_names_files_that_exist() -> None:
    """Each `path.py` of ARCHITECTURE.md is a file of the repository, or of the package by the end of its path."""
    names = re.findall(r"`([a-z_/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert names
    for name in names:
        assert (ROOT / name).exists() or any(str(path).endswith(f"/{name}") for path in FILES), name


def test_every_dependency_has_its_reason() -> None:
    """Each runtime dependency has a line in ARCHITECTURE.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "ARCHITECTURE.md").read_text()
    for requirement in project["dependencies"]:
        name = requirement.split(">")[0]
        assert f"| {name} |" in reasons, f"{name} has no reason in ARCHITECTURE.md"


# -- circles, and names

NAMES = {str(path.relative_to(PACKAGE)): path for path in FILES}


def file_imports(name: str, *, typed: bool) -> set[str]:
    """The files that a file imports, those within functions too; `typed`: also those for type checking alone."""
    found = set()
    for node in contents(NAMES[name]).imports:
        if not typed and node in contents(NAMES[name]).for_types:
            continue
        imported = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{name}" for name in imported] + [node.module or ""]
        for module in imported:
            path = module.removeprefix("prom_probe.").replace(".", "/")
            found |= {path + ".py", path + "/__init__.py"} & NAMES.keys() if module.startswith("prom_probe.") else set()
    return found


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Files that import each other in a circle; [] where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports within functions count; those for type checking alone may close a circle within one room."""
    graph = {name: file_imports(name, typed=False) for name in NAMES}
    for name in NAMES:
        across = {other for other in file_imports(name, typed=True) if other.split("/")[0] != name.split("/")[0]}
        graph[name] |= across
    assert find_circle(graph) == []


def test_a_class_name_exists_once() -> None:
    """Private ones too, so that a name says which one is meant."""
    found = [name for path in FILES for name in contents(path).classes]
    assert [name for name, count in Counter(found).items() if count > 1] == []


# -- tests and benchmarks

TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHES = sorted((ROOT / "bench").glob("*.py"))
OF_BENCHES = {"tests/unit/test_bench.py"}  # tests of the benchmarks themselves
# Modules of the standard library of which a patch reaches every thread of the process, the test runner's own too.
WHOLE_PROCESS = "os time select selectors socket signal subprocess threading shutil sys"
_PATCH = re.compile(rf"\b(?:setattr|patch|object)\(\s*[\"']?(?:{'|'.join(WHOLE_PROCESS.split())})\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules(path: Path) -> Iterator[str]:
    """The full name of each module that a file imports, those within functions too."""
    for node in contents(path).imports:
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        else:
            yield from (alias.name for alias in node.names)


def test_what_tests_and_benchmarks_share_lies_in_support() -> None:
    """Nothing imports a test module; tests do not import benchmarks, nor do benchmarks and support import tests."""
    assert [wrong for path in [*TESTS, *BENCHES] for wrong in wrong_imports(path)] == []


def wrong_imports(path: Path) -> Iterator[str]:
    for module in modules(path):
        top, *rest = module.split(".")
        if top not in ("tests", "bench"):
            continue
        if rest and rest[-1].startswith(("test_", "conftest")):
            yield f"{path} imports {module}"
        elif top == "bench":
            if path not in BENCHES and name_of(path) not in OF_BENCHES:
                yield f"{path} imports {module}"
        elif (path in BENCHES or name_of(path).startswith("tests/support/")) and rest[:1] != ["support"]:
            yield f"{path} imports {module}"


def test_nothing_patches_the_whole_process() -> None:
    """What a test replaces is handed to the code: a patch of the standard library reaches the test runner too."""
    assert [name_of(path) for path in TESTS if _PATCH.search(path.read_text())] == []
