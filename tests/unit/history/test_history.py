"""The history of a run: kept, bounded, stored and found again."""

from __future__ import annotations

import errno
import gc
from pathlib import Path

from prom_probe.history import history as module
from prom_probe.history.history import History, StoredHistory
from prom_probe.history.process_record import ProcessRecord
from prom_probe.history.run_info import RunInfo
from prom_probe.model.run_event import RunEvent
from prom_probe.model.sample import is_stale
from prom_probe.tsdb.disk.verify import repair, verify
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import Disk, wait_for_disk
from tests.support.process_rows import Values, columns_of, row_of
from tests.support.tsdb_tools import gauges, row

START_S = 1000.0
ALWAYS = (0.0, 1e12)


def open_history(folder: Path | None, start: float = START_S) -> tuple[History, Store]:
    store = Store(StoreOptions(path=str(folder) if folder else None))
    return History(RunInfo(command=["work"], host="h", start=start, trees=["app"]), store), store


def live(history: History, store: Store) -> None:
    """Two processes, of which one ends; an OOM kill; samples from 1000 to 1003."""
    store.announce("c", 0, 0, gauges(1))
    history.announce(0, [*columns_of(7), *columns_of(8, "child", ppid=7)])
    for t in (1000.0, 1001.0, 1002.0):
        store.append_row("c", 0, int(t * 1000), row([t]))
        history.row(t, row_of(Values(999.0, peak=t * 1e6), Values(999.5, peak=5e9) if t < 1002 else None))
        history.tick(t)
    history.reaped(8, 1001.9, None, 9)
    history.happened(RunEvent(1001.8, "oom_kill", "app", text="1 process"))


def flush(history: History, store: Store, now_s: float) -> None:
    history.flush(now_s)
    wait_for_disk(store)


def stored_life(folder: Path) -> tuple[History, Store]:
    """What has lived, and is on the disk."""
    history, store = open_history(folder)
    live(history, store)
    flush(history, store, 1002.0)
    return history, store


def test_processes_of_a_range_the_largest_first() -> None:
    """By their samples, and by tree."""
    history, store = open_history(None)
    live(history, store)
    shot = history.shot()
    assert [one.pid for one in shot.processes(*ALWAYS)] == [8, 7]
    assert [one.pid for one in shot.processes(1001.5, 1e12)] == [7]
    assert [one.pid for one in shot.processes(0, 999)] == []
    assert shot.processes(*ALWAYS, ["other"]) == []
    assert [one.pid for one in shot.processes(*ALWAYS, ["app"])] == [8, 7]


def test_events_oldest_first() -> None:
    """Starts and ends come from the processes."""
    history, store = open_history(None)
    live(history, store)
    shot = history.shot()
    assert [(event.t, event.type, event.pid, event.text) for event in shot.events(*ALWAYS)] == [
        (999.0, "process_start", 7, "work -x"),
        (999.5, "process_start", 8, "work -x"),
        (1001.8, "oom_kill", None, "1 process"),
        (1001.9, "process_end", 8, "child killed by SIGKILL"),
    ]
    assert [event.type for event in shot.events(1001, 1002, ["oom_kill"])] == ["oom_kill"]
    assert shot.events(*ALWAYS, (), ["other"]) == []


def test_without_a_path_nothing_is_kept_for_a_disk() -> None:
    """Of processes that have ended only the packed records remain."""
    before = count_records()
    history, _ = open_history(None)
    history.announce(0, [column for pid in range(50) for column in columns_of(pid)])
    history.row(1000.0, row_of(*[Values(999.0)] * 50))
    history.tick(1000.0)
    history.row(1001.0, row_of(*[None] * 50))
    history.tick(1010.0)
    assert len(history.processes) == 50
    assert count_records() <= before


def count_records() -> int:
    return sum(isinstance(one, ProcessRecord) for one in gc.get_objects())


def test_an_event_that_is_told_twice_is_kept_once() -> None:
    """An aggregator that comes back gets the newest frames again."""
    history, _ = open_history(None)
    for _ in range(2):
        history.happened(RunEvent(1.0, "gap", text="process"))
    assert len(history.events) == 1


def test_a_shot_does_not_change() -> None:
    """Records of the living go on changing; a thread has them as they were."""
    history, store = open_history(None)
    live(history, store)
    shot = history.shot()
    history.row(1003.0, row_of(Values(999.0, peak=9e9), None))
    assert [one.last for one in shot.processes(*ALWAYS) if one.pid == 7] == [1002.0]


def test_the_oldest_are_dropped_and_counted() -> None:
    """Beyond the most that is kept."""
    history, _ = open_history(None)
    for t in range(module.MOST_EVENTS + 3):
        history.happened(RunEvent(float(t), "gap"))
    assert (len(history.events), history.events.dropped) == (module.MOST_EVENTS, 3)
    assert history.shot().events(*ALWAYS)[0].t == 3.0


def test_what_is_older_than_the_oldest_sample_goes_with_it() -> None:
    """Retention by time or size: the records follow the samples, uncounted."""
    history, store = open_history(None)
    live(history, store)
    history.tick(1010.0)  # it has settled
    kept = Store()
    kept.announce("c", 0, 0, gauges(1))
    kept.append_row("c", 0, 1_001_850, row([1.0]))
    history._store = kept
    history.tick(1100.0)
    shot = history.shot()
    assert [one.pid for one in shot.processes(*ALWAYS)] == [7]
    assert [event.type for event in shot.events(*ALWAYS)] == ["process_start"]
    assert (history.processes.dropped, history.events.dropped) == (0, 0)


def test_a_run_that_ended_is_found_as_it_was(tmp_path: Path) -> None:
    """Processes, events and the run itself."""
    history, store = stored_life(tmp_path / "s")
    history.command_ended(1002.5, 1, None, duration_s=2.25, cpu_seconds=1.5)
    history.close(1003.0)
    before = history.shot()
    store.close()
    after = StoredHistory(Store.open_read_only(str(tmp_path / "s"))).shot()
    assert after.processes(*ALWAYS) == before.processes(*ALWAYS)
    assert after.events(*ALWAYS) == before.events(*ALWAYS)
    assert after.run == before.run
    assert (after.run.end, after.run.exit_status) == (1002.5, 1)
    assert (after.run.duration, after.run.cpu_seconds) == (2.25, 1.5)
    assert [one.end for one in after.processes(*ALWAYS)] == [1001.9, 1002.5]


def test_of_a_run_that_was_killed_everything_ends_with_the_samples(tmp_path: Path) -> None:
    """Nobody saw the end of what lived."""
    _, store = stored_life(tmp_path / "s")
    store.close()  # without `history.close`
    shot = StoredHistory(Store.open_read_only(str(tmp_path / "s"))).shot()
    assert {one.pid: one.end for one in shot.processes(*ALWAYS)} == {7: 1002.0, 8: 1001.9}
    assert (shot.run.end, shot.run.exit_status) == (1002.0, None)


def test_an_aggregator_that_comes_back_continues_the_records(tmp_path: Path) -> None:
    """The process that lives goes on; the run has not ended."""
    _, store = stored_life(tmp_path / "s")
    store.close()
    again, store = open_history(tmp_path / "s")
    assert again.shot().run.end is None
    again.announce(0, columns_of(7))
    again.row(1004.0, row_of(Values(999.0, peak=2e6, user=8.0)))
    (record,) = [one for one in again.shot().processes(*ALWAYS) if one.pid == 7]
    assert (record.first, record.last, record.end, record.cpu_seconds) == (1000.0, 1004.0, None, 8.0)
    assert record.memory_peak_bytes == 1002e6
    assert [event.type for event in again.shot().events(*ALWAYS)].count("oom_kill") == 1
    store.close()


def test_an_aggregator_that_was_asked_to_end_continues_too(tmp_path: Path) -> None:
    """It had ended what lived, and the run; its successor, in the same run, takes that back."""
    history, store = open_history(tmp_path / "s")
    live(history, store)
    history.close(1003.0)
    store.close()
    again, store = open_history(tmp_path / "s")
    assert again.shot().run.end is None
    again.announce(0, columns_of(7))
    again.row(1004.0, row_of(Values(999.0)))
    assert {one.pid: one.end for one in again.shot().processes(*ALWAYS)} == {7: None, 8: 1001.9}
    store.close()


def test_another_run_in_the_same_directory_has_what_was_before(tmp_path: Path) -> None:
    """What lived when the earlier run was killed ended with its samples."""
    _, store = stored_life(tmp_path / "s")
    store.close()
    other, store = open_history(tmp_path / "s", start=5000.0)
    assert {one.pid: one.end for one in other.shot().processes(*ALWAYS)} == {7: 1002.0, 8: 1001.9}
    assert (other.shot().run.start, other.shot().run.end) == (5000.0, None)
    store.close()


def test_another_run_ends_the_series_of_the_one_before(tmp_path: Path) -> None:
    """A millisecond after its newest sample; an aggregator that comes back in the same run does not."""
    for start, ended in ((START_S, False), (START_S, False), (5000.0, True)):
        history, store = open_history(tmp_path / "s", start)
        if not ended:
            live(history, store)
            flush(history, store, 1002.0)
        count = [len(group.labels) for group in store.snapshot().select(1_002_000, 1_002_001, [])]
        (group,) = store.snapshot().select(0, 1_002_001, [])
        assert count == [1]
        assert is_stale(float(group.values[0][-1])) == ended
        store.close()


def test_a_damaged_record_costs_that_record(tmp_path: Path) -> None:
    """The others are found, the damage is counted, and the file is kept as it was."""
    history, store = stored_life(tmp_path / "s")
    history.happened(RunEvent(1002.1, "throttled", "app"))
    flush(history, store, 1003.0)
    store.close()
    file = tmp_path / "s" / "history"
    data = bytearray(file.read_bytes())
    data[data.index(b"oom_kill")] ^= 1
    file.write_bytes(data)
    reports: list[str] = []
    store = Store(StoreOptions(path=str(tmp_path / "s")), report=lambda level, text: reports.append(text))
    again = History(RunInfo(start=START_S), store)
    kinds = [event.type for event in again.shot().events(*ALWAYS)]
    assert "oom_kill" not in kinds
    assert "throttled" in kinds
    assert len(again.shot().processes(*ALWAYS)) == 2
    assert store.stats().damaged == 1
    assert any("history: " in text for text in reports)
    assert (tmp_path / "s" / "history.damaged").read_bytes() == data
    store.close()


def test_a_crash_in_the_middle_of_a_write_costs_that_write(tmp_path: Path) -> None:
    """A record that is cut off is no damage: what was before it is there."""
    history, store = stored_life(tmp_path / "s")
    history.happened(RunEvent(1002.1, "throttled", "app"))
    flush(history, store, 1003.0)
    store.close()
    file = tmp_path / "s" / "history"
    file.write_bytes(file.read_bytes()[:-3])
    store = Store(StoreOptions(path=str(tmp_path / "s")))
    kinds = [event.type for event in History(RunInfo(start=START_S), store).shot().events(*ALWAYS)]
    assert ("oom_kill" in kinds, "throttled" in kinds) == (True, False)
    assert store.stats().damaged == 0
    store.close()


def test_after_a_disk_that_failed_everything_is_written_again(tmp_path: Path) -> None:
    """What happened meanwhile was in memory."""
    with Disk().beneath() as disk:
        history, store = open_history(tmp_path / "s")
        live(history, store)
        flush(history, store, 1002.0)
        disk.fail(0, 1e9, errno.ENOSPC)
        history.happened(RunEvent(1002.1, "throttled", "app"))
        flush(history, store, 1003.0)
        disk.heal()
        flush(history, store, 1004.0)
        history.happened(RunEvent(1004.1, "throttled", "app"))
        flush(history, store, 1005.0)
        before = history.shot().events(*ALWAYS)
        store.close()
    shot = StoredHistory(Store.open_read_only(str(tmp_path / "s"))).shot()
    assert [event.t for event in before if event.type == "throttled"] == [1002.1, 1004.1]
    stored = [event for event in shot.events(*ALWAYS) if event.type != "process_end"]
    assert stored == [event for event in before if event.type != "process_end"]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Once there is as much of old records as of the newest ones, and a megabyte of it, it is written anew."""
    history, store = open_history(tmp_path / "s")
    sizes = []
    for beat in range(20_000):
        history.happened(RunEvent(1000.0 + beat, "gap", text="x" * 250))
        if beat % 500 == 0:
            flush(history, store, 1000.0 + beat)
            sizes.append((tmp_path / "s" / "history").stat().st_size)
    assert len(history.events) == module.MOST_EVENTS
    assert max(sizes) < 3 << 20
    store.close()


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    """And repair leaves nothing to name."""
    _, store = stored_life(tmp_path / "s")
    store.close()
    path = str(tmp_path / "s")
    assert verify(path).faults == []
    file = tmp_path / "s" / "history"
    file.write_bytes(file.read_bytes().replace(b"oom_kill", b"oom_kilt"))
    (tmp_path / "s" / "run.json").write_text("{")
    assert sorted(fault.name for fault in verify(path).faults) == ["history", "run.json"]
    assert repair(path, lambda level, text: None)
    assert verify(path).faults == []
    assert len(StoredHistory(Store.open_read_only(path)).shot().processes(*ALWAYS)) == 2
