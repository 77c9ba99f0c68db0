"""Which processes have series of their own: at once, in a fork storm, and with what that identifies them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.collectors.process import process_series
from prom_probe.collectors.process.bucket import Bucket
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.collectors.process.info import CMDLINE_MOST, cmdline_label
from prom_probe.collectors.process.process_series import NEW_AT_ONCE, NEW_PER_S, WAITED_AT_ONCE
from prom_probe.model.labels import label_value
from prom_probe.model.run_event import RunEvent
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine

PID = Watch("job", "pid", "100")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    machine.proc.process(100, 1, b"root", start=100)
    return machine


def with_series(row: dict[str, float]) -> set[int]:
    """The PIDs that have series."""
    return {int(series.split('pid="')[1].split('"')[0]) for series in row if "proctree_process_threads" in series}


def infos(row: dict[str, float], pid: int) -> list[str]:
    """The labels of a process's proctree_process_info."""
    name = "proctree_process_info"
    found = [series for series, value in row.items() if series.startswith(name) and f' pid="{pid}"' in series]
    assert all(row[series] == 1 for series in found)
    return [series.removeprefix(name) for series in found]


def test_in_a_fork_storm_the_largest_and_the_busiest_are_named_each_second(machine: Machine) -> None:
    """The bucket's 200 are named at once; then two a second: the largest and the busiest of those without series."""
    collector = machine.make(ProcessCollector, PID, max_processes=10_000)
    machine.collect(collector)
    for pid in range(1000, 1000 + NEW_AT_ONCE):
        machine.proc.process(pid, 100, start=200)
    assert len(with_series(machine.collect(collector))) == NEW_AT_ONCE + 1
    for second in range(5):
        born = range(2000 + 50 * second, 2050 + 50 * second)
        for i, pid in enumerate(born):
            machine.proc.process(pid, 100, start=300 + second, resident=500 if i == 17 else 10, utime=30 * (i == 33))
        assert with_series(machine.collect(collector)) & set(born) == {born[17], born[33]}
        for pid in born:
            machine.proc.end(pid)


def test_in_a_fork_storm_the_others_have_series_in_their_third_collection(machine: Machine) -> None:
    """As many as a bucket of their own has tokens for: then those that have waited for longest, and the largest."""
    collector = machine.make(ProcessCollector, PID, max_processes=10_000)
    machine.collect(collector)
    born = range(1000, 1100 + NEW_AT_ONCE + WAITED_AT_ONCE)
    for pid in born:
        machine.proc.process(pid, 100, start=200, resident=500 if pid == born[-1] else 10)
    counts = [len(with_series(machine.collect(collector))) for _ in range(4)]
    assert counts == [NEW_AT_ONCE + 1, NEW_AT_ONCE + 3, NEW_AT_ONCE + WAITED_AT_ONCE + 3, 405]
    machine.proc.process(born[-1], 100, start=200, resident=10)
    left = sorted(set(born) - with_series(machine.collect(collector)))
    machine.proc.process(left[-1], 100, start=200, resident=900)
    assert with_series(machine.collect(collector)) & set(left) == {left[0], left[-1]}


def test_what_was_there_before_has_series_in_its_third_collection(machine: Machine) -> None:
    """However much it is: no storm, but a large tree that is watched from now on."""
    for pid in range(1000, 1100 + NEW_AT_ONCE + WAITED_AT_ONCE):
        machine.proc.process(pid, 100, start=200)
    collector = machine.make(ProcessCollector, PID, max_processes=10_000)
    counts = [len(with_series(machine.collect(collector))) for _ in range(3)]
    assert counts == [NEW_AT_ONCE, NEW_AT_ONCE + 2, 1 + 100 + NEW_AT_ONCE + WAITED_AT_ONCE]


def test_a_newcomer_that_grows_after_its_first_collection_is_named_in_its_second(machine: Machine) -> None:
    """It was small when it was first seen, in the middle of its start; it is named beside the largest newcomer."""
    collector = machine.make(ProcessCollector, PID, max_processes=10_000)
    machine.collect(collector)
    for pid in range(1000, 1000 + NEW_AT_ONCE):
        machine.proc.process(pid, 100, start=200)
    machine.collect(collector)
    for pid in range(2000, 2050):
        machine.proc.process(pid, 100, start=300, resident=10 + pid % 7, utime=pid % 5)
    first = with_series(machine.collect(collector))
    grown = next(pid for pid in range(2000, 2050) if pid not in first)
    machine.proc.process(grown, 100, start=300, resident=400)
    for pid in range(3000, 3050):
        machine.proc.process(pid, 100, start=400, resident=300 if pid == 3017 else 10, utime=pid % 5)
    assert with_series(machine.collect(collector)) - first == {grown, 3017}
    lasting = [column.labels for column in collector.layout.columns if column.lasting]
    for pid in (grown, 3017):
        names = {label_value(labels, "__name__") for labels in lasting if label_value(labels, "pid") == str(pid)}
        assert names == {"proctree_process_info", "proctree_process_resident_memory_bytes"}


def test_series_end_with_their_process_and_columns_are_reclaimed(machine: Machine) -> None:
    """A storm of short-lived processes leaves no columns behind."""
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)
    before = len(collector.layout.columns)
    for second in range(15):
        for pid in range(1000 + second * 50, 1050 + second * 50):
            machine.proc.process(pid, 100, start=200 + second)
        machine.collect(collector)
        for pid in range(1000 + second * 50, 1050 + second * 50):
            machine.proc.end(pid)
    assert with_series(machine.collect(collector)) == {100}
    machine.collect(collector)
    assert len(collector.layout.columns) <= 2 * before + 256 * 2


def test_at_most_so_many_have_series(machine: Machine) -> None:
    """--collect.max-processes bounds also those that are new; the largest of them come first."""
    for pid in range(101, 120):
        machine.proc.process(pid, 100, start=200, resident=pid)
    collector = machine.make(ProcessCollector, PID, max_processes=3)
    assert 119 in with_series(machine.collect(collector))
    assert len(with_series(machine.collect(collector, 3))) == 3


def test_what_identifies_a_process(machine: Machine) -> None:
    """Parent, name and command line are labels; without --collect.cmdline no command line is read."""
    machine.proc.process(101, 100, b"python", start=200, cmdline="python train.py --lr 3")
    collector = machine.make(ProcessCollector, PID, cmdline=True)
    row = machine.collect(collector)
    labels = '{cmdline="python train.py --lr 3", comm="python", pid="101", ppid="100", tree="job"}'
    assert infos(row, 101) == [labels]
    row = machine.collect(machine.make(ProcessCollector, PID))
    assert infos(row, 101) == ['{comm="python", pid="101", ppid="100", tree="job"}']


def test_another_parent_name_or_command_line_is_another_series(machine: Machine) -> None:
    """An exec of the same program is one too, known by the place of its stack."""
    collector = machine.make(ProcessCollector, PID, cmdline=True)

    def told(**changes: object) -> list[str]:
        process: dict[str, object] = {"ppid": 100, "comm": b"python", "start": 200, "cmdline": "python a", "stack": 7}
        machine.proc.process(101, **{**process, **changes})  # type: ignore[arg-type]
        return infos(machine.collect(collector), 101)

    assert told() == ['{cmdline="python a", comm="python", pid="101", ppid="100", tree="job"}']
    assert told(ppid=1) == ['{cmdline="python a", comm="python", pid="101", ppid="1", tree="job"}']
    assert told(cmdline="python b", stack=8) == [
        '{cmdline="python b", comm="python", pid="101", ppid="100", tree="job"}'
    ]
    assert told(cmdline="sh", comm=b"sh", stack=9) == ['{cmdline="sh", comm="sh", pid="101", ppid="100", tree="job"}']
    machine.proc.end(101)
    assert infos(machine.collect(collector), 101) == []


def test_a_title_that_is_written_over_the_command_line_is_read_ever_more_rarely(machine: Machine) -> None:
    """After 1, 2, 4, … collections from the first one, and anew after an exec."""
    collector = machine.make(ProcessCollector, PID, cmdline=True)
    changed, last = [], ""
    for number in range(20):
        stack = 7 if number < 11 else 8
        machine.proc.process(101, 100, b"postgres", start=200, stack=stack, cmdline=f"postgres: {number}")
        (label,) = infos(machine.collect(collector), 101)
        if label != last:
            changed.append(number)
            last = label
    assert changed == [0, 1, 2, 4, 8, 11, 12, 13, 15, 19]


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b"", ""),
        (b"sleep\x0060\x00", "sleep 60"),
        (b"caf\xe9\x00", "caf\\xe9"),
        (b"python\x00-c\x00import time\nprint(1)\x00", "python -c import time\\nprint(1)"),
        (b"a\x1b[31m\x00", "a\\x1b[31m"),
        ("größe\u202e\u009b\x00".encode(), "größe\\u202e\\x9b"),
        (b"a" * 200 + b"\x00" + b"b" * 200, "a" * 127 + "..." + "b" * 126),
        (b"a" * 256, "a" * 256),
    ],
)
def test_a_command_line_as_a_label(data: bytes, label: str) -> None:
    """Bytes that are not UTF-8 are \\xNN, control characters are escaped, the middle of a long one is left out."""
    assert cmdline_label(data) == label


@given(st.binary(max_size=2000))
def test_any_command_line_is_a_short_printable_label(data: bytes) -> None:
    """Whatever a program writes there."""
    label = cmdline_label(data)
    assert len(label) <= CMDLINE_MOST and label.isprintable()


def test_a_bucket_gives_what_it_holds_and_what_comes_in() -> None:
    """It never holds more than its size, and a clock that stands still adds nothing."""
    bucket = Bucket(NEW_AT_ONCE, NEW_PER_S)
    assert bucket.refill(10.0) == NEW_AT_ONCE
    bucket.take(NEW_AT_ONCE)
    assert [bucket.refill(now) for now in (10.0, 10.4, 10.5, 11.0, 11.0)] == [0, 0, 1, 2, 2]
    bucket.take(1)
    assert bucket.refill(11.5) == 2
    assert bucket.refill(1e9) == NEW_AT_ONCE


def test_in_a_storm_of_names_each_process_gets_its_own_in_turn(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the bucket has tokens for, who has waited for longest first; after an exec at once."""
    monkeypatch.setattr(process_series, "RENAMED_AT_ONCE", 3)
    collector = machine.make(ProcessCollector, PID)

    def named(second: int, executed: int = 0) -> list[str]:
        """The names in the processes' series, each of which has taken another one in this second."""
        for pid in range(200, 205):
            name = f"name-{second}"
            machine.proc.process(pid, 100, name.encode(), start=200, stack=2 if pid == executed else 1)
        row = machine.collect(collector)
        names = [info.split('comm="name-')[1][0] for pid in range(200, 205) for info in infos(row, pid)]
        for pid, name in enumerate(names, 200):
            assert f'proctree_process_threads{{comm="name-{name}", pid="{pid}", tree="job"}}' in row
        return names

    assert named(0) == ["0"] * 5
    assert named(1) == ["1", "1", "1", "0", "0"]
    assert named(2) == ["1", "1", "1", "2", "2"]
    assert named(3) == ["3", "3", "1", "2", "2"]
    assert named(4) == ["3", "3", "4", "4", "2"]
    assert named(5, executed=201) == ["5", "5", "4", "4", "5"]
    assert named(5, executed=201) == ["5"] * 5


def test_an_exec_is_an_event_of_a_process_with_series(machine: Machine) -> None:
    """The stack begins elsewhere: also under the same name; not another name alone, nor what a new process did."""
    events: list[RunEvent] = []
    collector = machine.make(ProcessCollector, PID, cmdline=True, happened=events.append)
    machine.proc.process(100, 1, b"root", start=100, stack=5, state="D")
    machine.proc.process(200, 100, b"root", start=200, stack=5)  # between its vfork and its exec
    assert with_series(machine.collect(collector)) == {100}
    machine.proc.process(200, 100, b"sh", start=200, stack=10, cmdline="sh -c x")
    assert with_series(machine.collect(collector)) == {100, 200}
    machine.proc.process(200, 100, b"renamed", start=200, stack=10, cmdline="sh -c x")
    machine.collect(collector)
    assert events == []
    machine.proc.process(200, 100, b"work", start=200, stack=20, cmdline="work -x")
    machine.collect(collector)
    machine.proc.process(200, 100, b"work", start=200, stack=30, cmdline="work -y")
    machine.collect(collector)
    now = machine.booted + machine.now
    assert events == [
        RunEvent(now - 1, "exec", "job", 200, "work -x"),
        RunEvent(now, "exec", "job", 200, "work -y"),
    ]
