"""What a tree's cgroup has used beyond the tree's counter, against a real cgroup."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import read_once
from tests.support.cgroups import enter, name_in_hierarchy, new_cgroup
from tests.support.collector_harness import values
from tests.support.processes import burn, child, collect_until, ended, running
from tests.support.waiting import DEADLINE_S


def used(path: Path) -> float:
    """The CPU seconds of a cgroup."""
    try:
        return int(read_once(f"{path}/cpuacct.usage")) / 1e9
    except FileNotFoundError:
        return int(read_once(f"{path}/cpu.stat").split()[1]) / 1e6


# What a process may use after its time has been handed to its parent: that is in the cgroup's account alone.
EXIT_S = 0.0005


@pytest.mark.skipif(sys.platform != "linux", reason="needs cgroups")
@pytest.mark.parametrize(("burn_ms", "gap_ms", "rounds"), [(50, 50, 12), (300, 100, 4), (3, 10, 100)])
@pytest.mark.parametrize("ignored", [False, True], ids=["reaped", "sigchld-ignored"])
def test_the_tree_and_what_is_unattributed_are_what_the_cgroup_used(
    burn_ms: int, gap_ms: int, rounds: int, ignored: bool
) -> None:
    """Short-lived children, seen once or never: reaped, all is the tree's; where nobody waits, both together."""
    with new_cgroup(["cpuacct", "cpu,cpuacct"], "cpuacct.usage", "cpu.stat") as path:
        go, start = os.pipe()

        def work() -> None:
            enter(path)
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
            collector = ProcessCollector(Context(watches=(Watch("t", "cgroup", name_in_hierarchy(path)),)))
            collect_until(collector, lambda: _unattributed(collector) is not None)
            before = used(path)
            first = _cpu(collector)
            os.write(start, b"!")
            deadline = time.monotonic() + DEADLINE_S
            while not ended(pid):
                assert time.monotonic() < deadline
                collector.collect()
                time.sleep(0.2)
            for _ in range(2):  # the account lags by a collection while processes end
                collector.collect()
            truth = used(path) - before
            counted = _cpu(collector) - first
            rest = _unattributed(collector)
            assert rest is not None
            if ignored:
                assert counted <= truth + 0.03
                assert counted + rest == pytest.approx(truth, rel=0.02, abs=0.06)
            else:
                assert counted == pytest.approx(truth, rel=0.02, abs=0.03 + rounds * EXIT_S)
                assert rest <= 0.02 * truth + 0.03, f"{counted} of {truth}"
            collector.close()
        os.close(go)
        os.close(start)


def _cpu(collector: ProcessCollector) -> float:
    row = values(collector)
    return sum(row[f'proctree_cpu_seconds_total{{mode="{mode}", tree="t"}}'] for mode in ("user", "system"))


def _unattributed(collector: ProcessCollector) -> float | None:
    return values(collector).get('proctree_cpu_unattributed_seconds_total{tree="t"}')
