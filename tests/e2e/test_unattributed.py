"""What a tree's cgroup has used beyond the tree's counter, against a real cgroup."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import read_once
from tests.support.collector_harness import values
from tests.support.processes import burn, child, collect_until, ended, running


@contextmanager
def cgroup() -> Iterator[tuple[str, Callable[[], float], Callable[[], None]]]:
    """A new cgroup with a CPU account: its path, its CPU seconds, and what moves the caller into it."""
    name = f"prom_probe_test_{os.getpid()}"
    places = [f"/sys/fs/cgroup/cpuacct/{name}", f"/sys/fs/cgroup/cpu,cpuacct/{name}", f"/sys/fs/cgroup/{name}"]
    for directory in places:
        if not os.path.exists(f"{os.path.dirname(directory)}/cgroup.procs"):
            continue
        try:
            os.mkdir(directory)
        except OSError:
            continue
        break
    else:
        pytest.skip("no cgroup can be made: needs root and a hierarchy that is not read-only")

    def used() -> float:
        try:
            return int(read_once(f"{directory}/cpuacct.usage")) / 1e9
        except FileNotFoundError:
            return int(read_once(f"{directory}/cpu.stat").split()[1]) / 1e6

    def enter() -> None:
        with open(f"{directory}/cgroup.procs", "w") as stream:
            stream.write(str(os.getpid()))

    try:
        yield directory.removeprefix("/sys/fs/cgroup"), used, enter
    finally:
        deadline = time.monotonic() + 5
        while os.path.exists(directory) and time.monotonic() < deadline:
            try:
                os.rmdir(directory)
            except OSError:
                time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="needs cgroups")
@pytest.mark.parametrize(("burn_ms", "gap_ms", "rounds"), [(50, 50, 12), (300, 100, 4), (3, 10, 100)])
@pytest.mark.parametrize("ignored", [False, True], ids=["reaped", "sigchld-ignored"])
def test_the_tree_and_what_is_unattributed_are_what_the_cgroup_used(
    burn_ms: int, gap_ms: int, rounds: int, ignored: bool
) -> None:
    """Short-lived children, seen once or never: reaped, all is the tree's; where nobody waits, both together."""
    with cgroup() as (path, used, enter):
        go, start = os.pipe()

        def work() -> None:
            enter()
            if ignored:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.read(go, 1)
            for _ in range(rounds):
                pid = child(lambda: burn(burn_ms / 1e3))
                try:
                    os.waitpid(pid, 0)
                except ChildProcessError:
                    pass  # waited until it was gone, as SIG_IGN has it
                time.sleep(gap_ms / 1e3)

        with running(work) as pid:
            collector = ProcessCollector(Context(watches=(Watch("t", "cgroup", path),)))
            collect_until(collector, lambda: _unattributed(collector) is not None)
            before = used()
            first = _cpu(collector)
            os.write(start, b"!")
            deadline = time.monotonic() + 60
            while not ended(pid):
                assert time.monotonic() < deadline
                collector.collect()
                time.sleep(0.2)
            for _ in range(2):  # the account lags by a collection while processes end
                collector.collect()
            truth = used() - before
            counted = _cpu(collector) - first
            rest = _unattributed(collector)
            assert rest is not None
            if ignored:
                assert counted <= truth + 0.03
                assert counted + rest == pytest.approx(truth, rel=0.02, abs=0.06)
            else:
                assert counted == pytest.approx(truth, rel=0.02, abs=0.03)
                assert rest <= 0.02 * truth + 0.03, f"{counted} of {truth}"
            collector.close()
        os.close(go)
        os.close(start)


def _cpu(collector: ProcessCollector) -> float:
    row = values(collector)
    return sum(row[f'proctree_cpu_seconds_total{{mode="{mode}", tree="t"}}'] for mode in ("user", "system"))


def _unattributed(collector: ProcessCollector) -> float | None:
    return values(collector).get('proctree_cpu_unattributed_seconds_total{tree="t"}')
