"""The facts of a run against what is known of it; `prom-probe compare` in all its formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prom_probe.cli.error import ClientError
from prom_probe.cli.facts import collect_facts
from prom_probe.cli.main import cli
from prom_probe.cli.source import open_source
from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.process_rows import WIDTH, Values, columns_of, row_of
from tests.support.stored_runs import MIB, START_S, make_stored_run
from tests.support.tsdb_tools import gauges, row


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A minute with a peak of 300 MiB, and half of one with 450 MiB that failed."""
    folder = tmp_path_factory.mktemp("facts")
    return make_stored_run(folder / "a"), make_stored_run(folder / "b", seconds=30, peak_mib=450, exit_status=3)


def compare(*args: str) -> str:
    done = CliRunner().invoke(cli, ["compare", *args])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_the_facts_are_those_of_the_run(runs: tuple[str, str]) -> None:
    """Each figure as it was written; the CPU time is the larger of the tree's and what COMMAND's exit told."""
    facts = collect_facts(open_source(runs[0]), "@last")
    assert (facts.source, facts.command, facts.host, facts.tree) == ("@last", ["python", "train.py"], "host", "python")
    assert (facts.start, facts.duration_seconds, facts.exit_status) == (START_S, 59.5, 0)
    assert facts.how_it_ended == "exit status 0"
    assert facts.cpu_seconds == pytest.approx(30.0)
    assert (facts.memory_peak_bytes, facts.memory_peak_time) == (300 * MIB, START_S + 10)
    assert (facts.io_read_bytes, facts.io_write_bytes) == (60 * MIB, 0)
    assert (facts.processes, facts.gaps, facts.oom_kills) == (2, 1, 0)
    largest, second = facts.largest_processes
    assert (largest.pid, largest.comm, largest.memory_peak_bytes) == (8, "loader", 280 * MIB)
    assert largest.memory_peak_time == START_S + 10 and largest.cpu_seconds == pytest.approx(2.5)
    assert (second.pid, second.memory_peak_bytes) == (7, 20 * MIB)


@pytest.mark.parametrize(("second", "pid"), [(15, 8), (17, None)])
def test_the_process_that_ended_with_an_oom_kill(tmp_path: Path, second: int, pid: int | None) -> None:
    """PID 8 ends in the fifteenth second; one that ended two seconds before a kill was not its victim."""
    facts = collect_facts(open_source(make_stored_run(tmp_path / "run", oom_kill_second=second)), "run")
    victim = facts.ended_with_oom_kill
    assert (facts.oom_kills, victim.pid if victim else None) == (1, pid)


def test_a_process_is_called_what_it_was_at_its_peak(tmp_path: Path) -> None:
    """Whatever small program it has executed since."""
    store = Store(StoreOptions(path=str(tmp_path / "run")))
    history = History(RunInfo(["big", "-x"], "host", START_S, trees=["app"], version="1"), store)
    history.announce(0, columns_of(7, "big", cmdline="big -x"))
    history.row(START_S + 1, row_of(Values(START_S, 90 * MIB)))
    history.announce(WIDTH, columns_of(7, "small", cmdline="small"))
    history.row(START_S + 2, row_of(None, Values(START_S, MIB)))
    history.close(START_S + 3)
    store.close()
    (largest,) = collect_facts(open_source(str(tmp_path / "run")), "run").largest_processes
    assert (largest.comm, largest.cmdline, largest.memory_peak_bytes) == ("big", "big -x", 90 * MIB)


def test_the_table_has_both_runs_and_their_ratios(runs: tuple[str, str]) -> None:
    """For people: units, and no row that neither has."""
    lines = {line[:30].strip(): line[30:].split("  ") for line in compare(*runs).splitlines()[1:]}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in lines.items()}
    assert cells["peak memory"] == ["300 MiB", "450 MiB", "1.50"]
    assert cells["peak memory after"] == ["10 s", "10 s", "1.00"]
    assert cells["end"] == ["exit status 0", "exit status 3"]
    assert cells["duration"] == ["59.5 s", "29.5 s", "0.50"]
    assert cells["read from storage"] == ["60 MiB", "30 MiB", "0.50"]
    assert cells["gaps"] == ["1", "1", "1.00"]
    assert "third largest process" not in cells


def test_csv_has_plain_numbers(runs: tuple[str, str]) -> None:
    """And each fact has a row, known or not."""
    head, *rows = csv.reader(io.StringIO(compare(*runs, "--format=csv")))
    assert head == ["fact", "unit", *runs, "ratio"]
    by_name = {name: rest for name, *rest in rows}
    assert by_name["peak memory"] == ["bytes", str(300 * MIB), str(450 * MIB), "1.5"]
    assert by_name["third largest process"] == ["", "", "", ""]


def test_json_and_markdown(runs: tuple[str, str]) -> None:
    """JSON has all that is known, Markdown the table for people."""
    found = json.loads(compare(*runs, "--format=json"))
    assert [run["memory_peak_bytes"] for run in found["runs"]] == [300 * MIB, 450 * MIB]
    assert found["ratios"]["peak memory"] == 1.5
    lines = compare(*runs, "--format=md").splitlines()
    assert lines[1] == "| --- | --- | --- | --- |"
    assert "| peak memory | 300 MiB | 450 MiB | 1.50 |" in lines


def test_a_tree_that_was_not_watched_is_an_error(runs: tuple[str, str], tmp_path: Path) -> None:
    """It names those that were."""
    with pytest.raises(ClientError, match="no tree is called 'x'; there are python"):
        collect_facts(open_source(runs[0]), "@last", "x")
    store = Store(StoreOptions(path=str(tmp_path / "other")))
    store.announce("c", 0, 0, gauges(1))
    store.append_row("c", 0, 1000, row([1.0]))
    store.close()
    with pytest.raises(ClientError, match="@2: no process tree was watched"):
        collect_facts(open_source(str(tmp_path / "other")), "@2")
