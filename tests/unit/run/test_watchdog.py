"""The watchdog: what a worker reads is seen from outside; one that hangs is told from one that is slow."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.ring.slot import Slot
from prom_probe.run.watchdog import LEFT_OUT_MOST_S, Roots, Watchdog, name_source, read_stuck
from prom_probe.sources.reading import NOTE_BYTES, Reading, lock_of, read_note
from tests.support.waiting import DEADLINE_S

ROOTS = Roots("/fixture/proc", "/sys", "/sys/fs/cgroup")


class Watched:
    """A watchdog of one worker, whose reading and beats the test makes."""

    def __init__(self, interval_s: float = 1.0) -> None:
        self.note = memoryview(bytearray(NOTE_BYTES))
        self.reading = Reading()
        self.reading.share(self.note, ROOTS.procfs, {})
        self.beats = 0
        self.told = Slot(4096)
        self.watchdog = Watchdog(
            ROOTS,
            {"process": self.note},
            beats=lambda name: self.beats,
            interval_s=lambda name: interval_s,
            told=self.told,
        )

    def stuck_at(self, pid: int, *times: float) -> list[float]:
        return [now_s for now_s in times if self.watchdog.is_stuck("process", pid, now_s)]


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The PID of a process that waits."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    deadline = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_reading_is_seen_from_outside() -> None:
    """By path, or by process and file; nothing once it is done."""
    watched = Watched()
    assert read_note(watched.note, "/proc") == ""
    watched.reading.path("/sys/caf\udce9")
    assert read_note(watched.note, "/proc") == "/sys/caf\udce9"
    watched.reading.path("/" + "x" * 10_000)
    assert read_note(watched.note, "/proc").startswith("/xxx")
    watched.reading.process(2, 77)
    assert read_note(watched.note, "/proc") == "/proc/77/io"
    watched.reading.done()
    assert read_note(watched.note, "/proc") == ""


def test_a_worker_is_stuck_after_three_beats_in_one_file(sleeper: int) -> None:
    """Three seconds at least."""
    watched = Watched(interval_s=0.05)
    watched.reading.process(0, 77)
    assert watched.stuck_at(sleeper, 10, 11, 12, 12.9, 13) == [13]
    watched = Watched(interval_s=15)
    watched.reading.process(0, 77)
    assert watched.stuck_at(sleeper, 10, 40, 54, 55) == [55]


def test_who_goes_on_is_not_stuck(sleeper: int) -> None:
    """Another file, another beat, nothing to read, or a CPU to wait for."""
    watched = Watched()
    watched.reading.process(0, 77)
    assert watched.stuck_at(sleeper, 10, 12) == []
    watched.reading.process(0, 78)
    assert watched.stuck_at(sleeper, 13, 15) == []
    watched.beats += 1
    assert watched.stuck_at(sleeper, 16, 18) == []
    watched.reading.done()
    assert watched.stuck_at(sleeper, 19, 99) == []
    watched.reading.process(0, 78)
    assert watched.stuck_at(os.getpid(), 100, 200, 300) == []  # we run
    assert not watched.watchdog.is_stuck("aggregator", sleeper, 400)  # not watched


def test_a_file_is_left_out_for_twice_as_long_each_time(sleeper: int) -> None:
    """Up to an hour; what is told of it ends by itself."""
    watched = Watched()
    pauses, now_s = [], 10.0
    for _ in range(8):
        watched.reading.path("/fixture/proc/77/smaps_rollup")
        assert watched.stuck_at(sleeper, now_s, now_s + 3) == [now_s + 3]
        path, for_s = watched.watchdog.leave_out("process", now_s + 3)
        assert path == "/fixture/proc/77/smaps_rollup"
        pauses.append(for_s)
        now_s += 3 + for_s
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, LEFT_OUT_MOST_S]
    assert watched.watchdog.left_out("process") == {"/fixture/proc/77/cmdline": now_s}
    assert [(file.worker, file.source) for file in read_stuck(watched.told, now_s - 1)] == [
        ("process", "/proc/PID/smaps_rollup")
    ]
    assert read_stuck(watched.told, now_s) == []
    assert watched.watchdog.left_out("system") == {}


def test_what_is_left_out_is_an_error_until_its_time_has_come() -> None:
    """All files of a process that take the lock of its mappings hang together."""
    reading = Reading()
    left_out = {"/p/77/cmdline": time.monotonic() + 60, "/p/78/io": time.monotonic() + 60, "/c/x": time.monotonic() - 1}
    reading.share(memoryview(bytearray(NOTE_BYTES)), "/p", left_out)
    for path in ("/p/77/cmdline", "/p/77/smaps_rollup", "/p/77/environ", "/p/78/io"):
        with pytest.raises(TimeoutError, match="did not answer"):
            reading.path(path)
    with pytest.raises(TimeoutError):
        reading.process(2, 78)
    for path in ("/p/77/stat", "/p/79/cmdline", "/c/x", "/c/x"):
        reading.path(path)
    reading.process(2, 77)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/fixture/proc/77/cmdline", "/proc/PID/cmdline"),
        ("/fixture/proc/77/task/78/status", "/proc/PID/task/PID/status"),
        ("/fixture/proc/loadavg", "/proc/loadavg"),
        ("/fixture/proc/77/root/sys/fs/cgroup/a/memory.current", "memory.current"),
        ("/sys/fs/cgroup/a.slice/77/io.stat", "io.stat"),
        ("/sys/block/sda/stat", "/sys/block/sda/stat"),
        ("/elsewhere", "/elsewhere"),
    ],
)
def test_a_source_is_the_kind_of_a_file(path: str, source: str) -> None:
    """PIDs and cgroups come and go: they are in the log, not in a label."""
    assert name_source(path, ROOTS) == source
    assert lock_of("/a/maps") == "/a/cmdline"
