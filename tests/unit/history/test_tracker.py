"""Records of processes, made of columns and rows."""

from __future__ import annotations

from prom_probe.history.process_record import MOST_NAMES, ProcessRecord
from prom_probe.history.tracker import ProcessTracker
from tests.support.process_rows import Values, columns_of, row_of


def ended(tracker: ProcessTracker) -> list[ProcessRecord]:
    return list(tracker.take_ended(1e9))


def test_a_process_from_its_first_row_to_its_last() -> None:
    """Start, first and last sample, end, parent, command line, CPU time, and the peak with its time."""
    tracker = ProcessTracker()
    tracker.announce(0, columns_of(7, ppid=3))
    tracker.row(100.0, row_of(Values(99.5, resident=10, user=1.0)))
    tracker.row(101.0, row_of(Values(99.5, resident=30, peak=50, user=1.5, system=0.25)))
    tracker.row(102.0, row_of(Values(99.5, resident=20, peak=50, user=1.5, system=0.5)))
    assert list(tracker.lives) == [("app", 7)]
    tracker.row(103.0, row_of(None))
    assert not tracker.lives
    assert ended(tracker) == [
        ProcessRecord("app", 7, 3, ["work"], "work -x", 99.5, 100.0, 102.0, 103.0, 50, 101.0, 2.0)
    ]


def test_fork_then_exec_is_one_record_with_two_names() -> None:
    """The series under the first name end in the row in which those under the second begin."""
    tracker = ProcessTracker()
    tracker.announce(0, columns_of(7, "sh", cmdline="sh -c x"))
    tracker.row(100.0, row_of(Values(99.5, resident=90)))
    tracker.announce(6, columns_of(7, "python", cmdline="python x"))
    tracker.row(101.0, row_of(None, Values(99.5, resident=40)))
    (record,) = tracker.lives.values()
    assert (record.comm, record.cmdline, record.first_cmdline) == (["sh", "python"], "python x", "sh -c x")
    assert not ended(tracker)
    tracker.row(102.0, row_of(None, None))
    assert ended(tracker) == [record]


def test_the_peak_keeps_the_names_of_its_time() -> None:
    """Through an exec, another name and an exec under the same name, until there is a higher one."""
    tracker = ProcessTracker()
    tracker.announce(0, columns_of(7, "big", cmdline="big -x"))
    tracker.row(100.0, row_of(Values(99.5, resident=90)))
    record = tracker.lives["app", 7]
    assert (record.names_at_peak, record.memory_peak_comm) == (("big", "big -x"), None)
    tracker.announce(6, columns_of(7, "small", cmdline="small"))
    tracker.row(101.0, row_of(None, Values(99.5, resident=10)))
    assert (record.names_at_peak, record.memory_peak_time) == (("big", "big -x"), 100.0)
    tracker.announce(12, columns_of(7, "renamed", cmdline="small"))
    tracker.row(102.0, row_of(None, None, Values(99.5, resident=20)))
    assert (record.names_at_peak, record.comm) == (("big", "big -x"), ["big", "small", "renamed"])
    tracker.row(103.0, row_of(None, None, Values(99.5, resident=200)))
    assert (record.names_at_peak, record.memory_peak_comm) == (("renamed", "small"), None)
    info = [column for column in columns_of(7, "renamed", cmdline="renamed -y") if column.family.name.endswith("info")]
    tracker.announce(18, info)
    tracker.row(104.0, row_of(None, None, Values(99.5, resident=20)) + b"\0" * 8)
    assert (record.names_at_peak, record.cmdline, record.first_cmdline) == (
        ("renamed", "small"),
        "renamed -y",
        "big -x",
    )


def test_only_so_many_names_are_kept() -> None:
    """Of a process that takes another one with each task: the first, and those that it had last."""
    record = ProcessRecord("app", 7, 1, ["python"], None, 99.5, 100.0, 100.0)
    for name in ("idle", "f", "idle", "g", "idle"):
        record.rename(name)
    assert record.comm == ["python", "f", "g", "idle"]
    for number in range(100):
        record.rename(f"task-{number}")
    assert record.comm == ["python", *(f"task-{number}" for number in range(101 - MOST_NAMES, 100))]
    record.rename("python")
    record.rename("task-99")
    assert (record.comm[0], record.comm[-1], len(record.comm)) == ("python", "task-99", MOST_NAMES - 1)


def test_a_reused_pid_is_another_record() -> None:
    """Under the same name, between two rows: the start time tells."""
    tracker = ProcessTracker()
    tracker.announce(0, columns_of(7))
    tracker.row(100.0, row_of(Values(99.5, user=5.0)))
    tracker.announce(6, columns_of(7, cmdline="work -y"))
    tracker.row(101.0, row_of(None, Values(100.5)))
    (old,), (new,) = ended(tracker), tracker.lives.values()
    assert (old.start, old.last, old.end, old.cpu_seconds, old.cmdline) == (99.5, 100.0, 101.0, 5.0, "work -x")
    assert (new.start, new.first, new.end, new.cpu_seconds, new.cmdline) == (100.5, 101.0, None, 0.0, "work -y")


def test_columns_that_are_announced_anew_continue_the_records() -> None:
    """After a compaction, and by a restarted worker, whose start times differ by a rounding: one record each."""
    tracker = ProcessTracker()
    tracker.announce(0, [*columns_of(7), *columns_of(8), *columns_of(9)])
    tracker.row(100.0, row_of(Values(90.0), Values(91.0, peak=7e6), Values(92.0)))
    tracker.announce(0, [*columns_of(8), *columns_of(7)])
    tracker.row(101.0, row_of(Values(91.01), Values(90.0)))
    assert {pid: record.first for (_, pid), record in tracker.lives.items()} == {7: 100.0, 8: 100.0}
    assert tracker.lives["app", 8].memory_peak_bytes == 7_000_000
    assert [(record.pid, record.end) for record in ended(tracker)] == [(9, 101.0)]


def test_an_announcement_in_parts_neither_ends_nor_doubles_a_process() -> None:
    """A full ring delays the rest of the columns, and the rows are as short until it comes."""
    columns = [*columns_of(7), *columns_of(8)]
    tracker = ProcessTracker()
    tracker.announce(0, columns)
    tracker.row(100.0, row_of(Values(90.0), Values(91.0)))
    tracker.announce(0, columns[:8])
    tracker.row(101.0, row_of(Values(90.0), Values(91.0))[: 8 * 8])
    tracker.announce(8, columns[8:])
    tracker.row(102.0, row_of(Values(90.0), Values(91.0, user=3.0)))
    assert sorted(pid for _, pid in tracker.lives) == [7, 8]
    assert (tracker.lives["app", 8].cpu_seconds, tracker.lives["app", 8].end) == (3.0, None)
    assert not ended(tracker)


def test_what_reaping_tells_before_and_after_the_end_was_seen() -> None:
    """The time of the end and its status; of a PID that nobody had there is nothing to say."""
    tracker = ProcessTracker()
    tracker.announce(0, [*columns_of(7), *columns_of(8)])
    tracker.row(100.0, row_of(Values(90.0), Values(91.0)))
    tracker.reaped(7, 100.4, 3, None)
    tracker.row(101.0, row_of(None, None))
    tracker.reaped(8, 100.6, None, 9)
    tracker.reaped(4711, 100.7, 0, None)
    seven, eight = ended(tracker)
    assert (seven.end, seven.exit_status, seven.signal, seven.how_it_ended) == (100.4, 3, None, "exited with status 3")
    assert (eight.end, eight.exit_status, eight.signal, eight.how_it_ended) == (100.6, None, 9, "killed by SIGKILL")


def test_a_step_of_the_clock_moves_the_start() -> None:
    """The collector computes start times anew; it stays one record."""
    tracker = ProcessTracker()
    tracker.announce(0, columns_of(7))
    tracker.row(100.0, row_of(Values(90.0)))
    tracker.row(5101.0, row_of(Values(5090.0)))
    (record,) = tracker.lives.values()
    assert (record.start, record.first, record.last) == (5090.0, 100.0, 5101.0)


def test_a_copy_for_the_disk_is_due_when_something_has_changed() -> None:
    """A new process, a new peak, much more CPU time, an end; a little of either every half minute; else nothing."""
    tracker = ProcessTracker()
    tracker.announce(0, columns_of(7))
    rows = [
        (100.0, 1000, 0.0, 1),
        (101.0, 1001, 0.1, 0),
        (102.0, 2000, 0.1, 1),
        (103.0, 2000, 0.2, 0),
        (104.0, 2000, 1.0, 1),
        (120.0, 2000, 1.1, 0),
        (140.0, 2000, 1.1, 1),
        (240.0, 2000, 1.1, 0),
    ]
    for t, peak, cpu_seconds, due in rows:
        tracker.row(t, row_of(Values(90.0, resident=1, peak=peak, user=cpu_seconds)))
        assert len(list(tracker.take_changed(t))) == due, t
    tracker.row(241.0, row_of(None))
    assert [record.end for record in tracker.take_changed(241.0)] == [241.0]
