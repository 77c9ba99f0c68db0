"""What happens between two scrapes shows in the next: spikes, kills, and the death of a tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tests.support.cgroups import enter, memory_cgroup, name_in_hierarchy
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

MIB = 1 << 20
# Uses more CPU time than a tick, waits for a line, takes 48 MiB, which a collection sees, and on a second line more
# than it may.
GROW = """
import sys, time
while time.process_time() < 0.1: pass
sys.stdin.readline()
kept = bytearray(48 << 20); kept[::4096] = b"x" * len(kept[::4096])
sys.stdin.readline()
more = []
while True:
    more.append(bytearray(4 << 20)); more[-1][::4096] = b"x" * len(more[-1][::4096])
"""
FAST = ("--interval=50ms",)


@contextmanager
def grower(first: Callable[[], None] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The program above, which does `first` before it is executed."""
    process = subprocess.Popen([sys.executable, "-c", GROW], stdin=subprocess.PIPE, preexec_fn=first)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def go_on(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def scrape(sidecar: Sidecar) -> dict[str, float]:
    """What a scrape tells of tree "job", by name; counters of several series summed."""
    values: dict[str, float] = {}
    for (name, labels), value in sidecar.metrics().items():
        if ("tree", "job") in labels:
            values[name] = values.get(name, 0.0) + value
    return values


def test_an_oom_kill_between_two_scrapes_is_told_by_the_next() -> None:
    """The kernel kills; the scrape after has the kill, what was reached before, and the final counters."""
    with (
        memory_cgroup(64 * MIB) as path,
        grower(partial(enter, path)) as process,
        Sidecar(flags=[f"--watch=job=cgroup:{name_in_hierarchy(path)}", *FAST]) as sidecar,
    ):
        wait_for("the tree", lambda: scrape(sidecar).get("proctree_processes") == 1)
        before = wait_for("the kill counter", lambda: "cgroup_oom_kills_total" in scrape(sidecar) and scrape(sidecar))
        assert before["cgroup_oom_kills_total"] == 0
        assert before["proctree_resident_memory_max_bytes"] < 40 * MIB
        go_on(process)
        wait_for("48 MiB in the store", lambda: (sidecar.value("proctree_resident_memory_bytes") or 0) > 48 * MIB)
        go_on(process)
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
        wait_for("the end in the store", lambda: sidecar.value("proctree_processes") == 0)
        after = scrape(sidecar)
        assert after["proctree_processes"] == 0
        assert after["cgroup_oom_kills_total"] >= 1
        assert 48 * MIB < after["proctree_resident_memory_max_bytes"] <= 80 * MIB
        assert after["proctree_cpu_seconds_total"] >= before["proctree_cpu_seconds_total"] > 0
        assert "proctree_resident_memory_bytes" not in after


def test_a_kill_between_two_scrapes_is_told_by_the_next_even_if_the_worker_dies_too() -> None:
    """Maxima and final counters are in the slot that a worker leaves to its successor."""
    with grower() as process, Sidecar(flags=[f"--watch=job=pid:{process.pid}", *FAST]) as sidecar:
        wait_for("the tree", lambda: scrape(sidecar).get("proctree_processes") == 1)
        go_on(process)
        wait_for("48 MiB in the store", lambda: (sidecar.value("proctree_resident_memory_bytes") or 0) > 48 * MIB)
        process.kill()
        process.wait()
        wait_for("the end in the store", lambda: sidecar.value("proctree_processes") == 0)
        worker = sidecar.worker("process")
        os.kill(worker, signal.SIGKILL)
        wait_for("another worker", lambda: sidecar.worker("process") != worker)
        after = wait_for("its first row", lambda: _is_new(sidecar) and scrape(sidecar))
        assert after["proctree_processes"] == 0
        assert after["proctree_resident_memory_max_bytes"] > 48 * MIB
        assert after["proctree_processes_max"] == 1
        assert after["proctree_cpu_seconds_total"] > 0


def _is_new(sidecar: Sidecar) -> bool:
    restarts = sidecar.metric("prom_probe_worker_restarts_total", worker="process")
    return restarts == 1 and "proctree_processes" in scrape(sidecar)


def test_maxima_end_with_their_window() -> None:
    """--expose.max-window: what was reached is told for as long as that, and then no longer."""
    flags = [*FAST, "--expose.max-window=5s"]
    with grower() as process, Sidecar(flags=[f"--watch=job=pid:{process.pid}", *flags]) as sidecar:
        go_on(process)
        wait_for("48 MiB", lambda: scrape(sidecar).get("proctree_resident_memory_max_bytes", 0) > 48 * MIB)
        process.kill()
        process.wait()
        wait_for("the end", lambda: scrape(sidecar).get("proctree_processes") == 0)
        wait_for("the window's end", lambda: "proctree_resident_memory_max_bytes" not in scrape(sidecar))
        assert "proctree_cpu_seconds_total" in scrape(sidecar)
