"""The benchmarks' pages: what was printed is read back, and what is shown is what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from bench.__main__ import BENCHES
from bench.grafana import Board
from bench.pages import PAGE, README, RESULTS, cell, page_text, parse_output, readme_text, with_section
from bench.plots import PLOTS, number
from bench.report import format_table
from tests.support.paths import ROOT
from tests.support.peers import Peer
from tests.support.waiting import wait_for

# What the benchmarks share, and what runs them.
HELPERS = {
    "__init__",
    "__main__",
    "dataset",
    "grafana",
    "pages",
    "peers",
    "plots",
    "record",
    "recorded_tree",
    "report",
    "syscalls",
}


def test_tables_and_lines_are_read_back() -> None:
    """In their order."""
    table = format_table(("a", "b"), [("x", "1.5"), ("long name", "")])
    data = {"head": ["a", "b"], "rows": [["x", "1.5"], ["long name", ""]]}
    assert parse_output(f"before\n{table}\n\nafter\nmore\n{table}\n") == ["before", data, "after\nmore", data]
    assert parse_output(f"\n{table}\n\n{table}\nafter") == [data, data, "after"]


def test_a_cell_is_found_by_its_names() -> None:
    """Or the error names it."""
    results = {"benches": {"x": {"parts": [{"head": ["What", "ours, ms"], "rows": [["one", "2"]]}]}}}
    assert cell(results, "x", "one", "ours") == "2"
    with pytest.raises(KeyError, match="x: two, ours"):
        cell(results, "x", "two", "ours")
    with pytest.raises(KeyError, match="y"):
        cell(results, "y", "one", "ours")


def test_every_benchmark_is_run() -> None:
    """A module that is forgotten has no figures."""
    modules = {path.stem for path in (ROOT / "bench").glob("*.py")} - HELPERS
    assert {bench.module or name for name, bench in BENCHES.items()} == modules


def test_the_pages_show_what_was_measured() -> None:
    """`python -m bench --report` changes nothing; every plot is there."""
    results = json.loads(RESULTS.read_text())
    assert results["benches"].keys() == BENCHES.keys()
    assert PAGE.read_text() == page_text(results)
    readme = README.read_text()
    assert with_section(readme, readme_text(results)) == readme
    for name in PLOTS:
        assert (ROOT / "docs" / "pictures" / f"{name}.svg").read_text().startswith("<?xml")


def test_numbers_in_cells() -> None:
    """With thousands, and what stands around them."""
    assert [number(text) for text in ("3,600", "4.56/10.2", "12 ms", "-")][:3] == [3600, 4.56, 12]
    assert number("-") != number("-")


def test_a_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    """What it said is in the error: before it is ready, while something else is waited for, and when a test fails."""
    argv = [sys.executable, "-c", "print('no room'); raise SystemExit(3)"]
    folder = tmp_path / "folder"

    def start(name: str) -> Peer:
        folder.mkdir()
        return Peer(name, argv, 1, folder)

    with pytest.raises(RuntimeError, match=r"one is not ready \(3\): no room"), start("one"):
        pass
    peer = start("two")
    with pytest.raises(RuntimeError, match=r"two has ended \(3\): no room"):
        wait_for("anything", peer.unless_ended(lambda: False))
    error = AssertionError("this failed")
    peer.__exit__(None, error, None)
    assert error.__notes__ == ["two said (3): no room\n"]
    assert not folder.exists()


def test_a_refresh_is_what_grafana_asks_for() -> None:
    """Times are aligned but for instant queries, every variable is filled in, and a rate's window has four scrapes."""
    board = Board(ROOT / "grafana" / "dashboards" / "process-tree.json")
    refresh = board.refresh(100_000.7, 3600, 15)
    forms = [parse_qs(ask.form) for ask in refresh.queries]
    ranges = [form for form in forms if "step" in form]
    assert {tuple(form["step"]) for form in ranges} == {("15",), ("30",)}  # panels, annotations
    assert {(form["start"][0], form["end"][0]) for form in ranges if form["step"] == ["15"]} == {("96390", "99990")}
    assert {form["time"][0] for form in forms if "time" in form} == {"100000.7"}
    assert not any("$" in ask.expr for ask in refresh.queries)
    assert not any("%24" in ask.path for ask in refresh.variables)
    assert 'sum(rate(proctree_cpu_seconds_total{job=~".*", instance=~".*", tree=~".*"}[16s]))' in {
        ask.expr for ask in refresh.queries
    }
    narrow = board.refresh(100_000.7, 900, 1)
    assert any("[4s]" in ask.expr for ask in narrow.queries)
    assert [ask.path.split("?")[0] for ask in narrow.variables] == [
        f"/api/v1/label/{label}/values" for label in ("job", "instance", "tree")
    ]
