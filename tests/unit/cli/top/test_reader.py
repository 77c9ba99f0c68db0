"""What is read of a moment, against a stored run that is known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from prom_probe.cli.answer import AnswerSeries
from prom_probe.cli.source import lasting_name
from prom_probe.cli.top.asker import Asker
from prom_probe.cli.top.header import detail, events, nothing_there, state_of, title, totals
from prom_probe.cli.top.lasting import LastingSource
from prom_probe.cli.top.process_row import ProcessRow
from prom_probe.cli.top.reader import MomentReader
from prom_probe.cli.top.reading import MomentReading, MomentRequest, NoReading
from prom_probe.cli.top.rows import rows_at
from prom_probe.model.labels import METRIC_NAME
from prom_probe.tsdb.disk import api_file, folder
from tests.support.memory import folder_in_memory
from tests.support.stored_runs import MIB, START_S, make_stored_run
from tests.support.waiting import DEADLINE_S


@pytest.fixture(scope="module")
def path() -> Iterator[str]:
    """A run whose child lives from the fifth second to the fifteenth."""
    with folder_in_memory() as folder:
        yield make_stored_run(folder / "run")


def read(path: str, second: float | None) -> MomentReading:
    reader = MomentReader(LastingSource(path))
    reading = reader.maybe_read(MomentRequest(None if second is None else START_S + second, None))
    assert isinstance(reading, MomentReading), reading
    return reading


def by_pid(reading: MomentReading) -> dict[int, ProcessRow]:
    return {row.pid: row for row in reading.rows}


def test_both_processes_at_the_peak(path: str) -> None:
    """Each value as it was written."""
    reading = read(path, 10)
    rows = by_pid(reading)
    assert rows.keys() == {7, 8}
    loader, python = rows[8], rows[7]
    assert (loader.name, loader.ppid, loader.command_line, loader.mark) == ("loader", 7, "work -x", "")
    assert (loader.memory, loader.peak, loader.start, loader.age) == (280 * MIB, 280 * MIB, START_S + 4.5, 5.5)
    assert loader.cpu == pytest.approx(0.25) and python.cpu == pytest.approx(0.25)  # in that second alone
    assert python.memory == 20 * MIB and python.read is None and python.threads is None
    of = reading.totals
    assert (of.memory, of.processes, of.newest, of.limit) == (300 * MIB, 2, START_S + 10, None)
    assert of.cpu == pytest.approx(0.5)
    assert reading.tree == "python" and reading.settled
    assert reading.end == pytest.approx(START_S + 60.2, abs=0.002)


def test_the_last_minute_of_each(path: str) -> None:
    """Nothing before its start, the peak in its second."""
    minute = read(path, 12).minute
    cells = minute.of("memory", 8)
    assert cells[-8:] == [20 * MIB] * 5 + [280 * MIB] + [20 * MIB] * 2 and set(cells[:-8]) == {None}
    assert minute.of("tree_memory")[-3:] == [300 * MIB, 40 * MIB, 40 * MIB]
    cpu = minute.of("cpu", 8)
    assert cpu[-1] == pytest.approx(0.25) and cpu[-8] == pytest.approx(0.25)  # its first: 0.25 s within half a second


@pytest.mark.parametrize(("second", "mark"), [(5, "started"), (7, "started"), (8, ""), (14, "")])
def test_what_has_just_started_is_marked(path: str, second: int, mark: str) -> None:
    """For three seconds."""
    assert by_pid(read(path, second))[8].mark == mark


@pytest.mark.parametrize("second", [16, 19])
def test_what_has_just_ended_is_listed_with_its_peak(path: str, second: int) -> None:
    """It may be what is looked for."""
    gone = by_pid(read(path, second))[8]
    assert (gone.mark, gone.memory, gone.peak) == ("ended", None, 280 * MIB)
    assert gone.note.startswith("ended ") and gone.note.endswith(" s ago")
    assert gone.end is not None and START_S + 14 < gone.end <= START_S + 15


def test_what_ended_long_ago_is_not_there(path: str) -> None:
    """Nor what has not begun."""
    assert by_pid(read(path, 21)).keys() == by_pid(read(path, 25)).keys() == {7} and by_pid(read(path, 4)).keys() == {7}


def test_the_newest_moment_of_a_run_that_has_ended(path: str) -> None:
    """Is before the staleness markers: what was there at last is seen."""
    reading = read(path, None)
    assert START_S + 60 <= reading.moment < START_S + 60.2 and by_pid(reading).keys() == {7}
    assert state_of(reading, live=True, problem="", now_s=reading.moment)[0] == "ended, exit status 0"


def test_where_nothing_was_it_is_said_what_is_stored(path: str) -> None:
    """Before the first sample."""
    reading = read(path, -3600)
    assert not reading.rows and reading.totals.memory is None
    assert nothing_there(reading).startswith("no process at this moment; there are samples from 20")


def test_a_moment_says_what_is_watched_and_its_totals(path: str) -> None:
    """As people read it."""
    reading = read(path, 10)
    state = state_of(reading, live=False, problem="", now_s=START_S + 60)
    text = "".join(piece for piece, _ in title(reading, state))
    assert "  paused, 50 s back  python train.py on host, tree python" in text and text[19:20] in "+-"
    text = "".join(piece for piece, _ in totals(reading, 100))
    assert text.startswith("CPU 0.50  memory 300 MiB  processes 2  ") and text[-1] == "█"
    text = "".join(piece for piece, _ in detail(by_pid(reading)[8]))
    assert text.startswith("PID 8, parent 7, started ") and text.endswith("peak 280 MiB  work -x")


@pytest.mark.parametrize(("newest", "state"), [(0.0, "live"), (-3.9, "live"), (-20.0, "stale: no samples for 20 s")])
def test_a_source_without_new_samples_is_stale(path: str, newest: float, state: str) -> None:
    """It answers, but nothing is sampled any more."""
    reading = read(path, 30)
    run = reading.run
    run.end = None
    late = reading._replace(end=None, run=run, totals=reading.totals._replace(newest=START_S + 30 + newest))
    assert state_of(late, live=True, problem="", now_s=START_S + 30)[0] == state
    assert state_of(late, live=True, problem="no answer", now_s=START_S + 30)[0] == "no answer"


def test_events_around_the_moment(path: str) -> None:
    """Up to it, and the first ones after it."""
    lines = ["".join(text for text, _ in pieces) for pieces in events(read(path, 28), 5)]
    assert any("ended" in line and "8 loader ended" in line for line in lines)
    assert lines[-1][8:] == "   +2 s  gap            process: 3 s without samples"
    assert not events(read(path, 28)._replace(events=()), 5)


def test_a_run_that_ends_is_read_from_its_directory(tmp_path: Path) -> None:
    """As long as it has its directory's lock it is asked by its API, which does not answer here."""
    run = make_stored_run(tmp_path / "run")
    api_file.write(run, "http://127.0.0.1:1")
    writer = folder.open_to_write(run)
    reader = MomentReader(LastingSource(run))
    gone = reader.maybe_read(MomentRequest(None, None))
    assert isinstance(gone, NoReading) and gone.text == "no answer from http://127.0.0.1:1: Connection refused"
    writer.close()
    reading = reader.maybe_read(MomentRequest(None, None))
    assert isinstance(reading, MomentReading) and reading.end is not None and reading.run.command


def test_a_source_keeps_its_meaning(tmp_path: Path) -> None:
    """@last is another run as soon as one begins; a URL stays what it is."""
    run = make_stored_run(tmp_path / "run")
    assert lasting_name(os.path.relpath(run)) == run
    assert lasting_name("http://127.0.0.1:1/x") == "http://127.0.0.1:1/x"


def test_a_zombie_is_no_process_without_memory() -> None:
    """It has no threads either: its memory is gone, its parent has not waited for it."""
    labels = {"pid": "9", "comm": "gone", "tree": "app"}
    answer = [
        AnswerSeries(labels | {METRIC_NAME: f"proctree_process_{name}"}, [(START_S, value)])
        for name, value in (("start_time_seconds", f"{START_S - 9}"), ("threads", "0"), ("resident_memory_bytes", "0"))
    ]
    (row,) = rows_at(START_S, answer, ())
    assert (row.mark, row.note, row.memory, row.age) == ("zombie", "zombie", 0.0, 9.0)


def test_a_bug_of_ours_is_not_silent() -> None:
    """It reaches whoever asked: a thread that had ended would answer nothing."""
    outcomes: SimpleQueue[object] = SimpleQueue()
    asker = Asker(MomentReader(None), outcomes.put)  # type: ignore[arg-type]
    for _ in range(2):
        asker.ask(MomentRequest(None, None))
        assert isinstance(outcomes.get(timeout=DEADLINE_S), AttributeError)
