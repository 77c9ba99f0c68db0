"""The cgroup collector on the real kernel: an OOM kill between two collections."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.cgroup.collector import CgroupCollector
from tests.support.cgroups import memory_cgroup
from tests.support.collector_harness import values

MIB = 1 << 20


@pytest.fixture
def limited() -> Iterator[Path]:
    with memory_cgroup(24 * MIB) as path:
        yield path


@pytest.mark.skipif(sys.platform != "linux", reason="needs cgroups")
def test_an_oom_kill_between_two_collections_is_told(limited: Path) -> None:
    """The child is killed by the kernel; the counter of its tree's own cgroup rises."""
    go, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        waste = []
        while True:
            waste.append(b"x" * MIB)
    (limited / "cgroup.procs").write_text(str(child))
    context = Context(tree_pids={"t": child})
    collector = CgroupCollector(context)
    collector.collect()
    before = values(collector)
    assert before['cgroup_memory_limit_bytes{tree="t"}'] == 24 * MIB
    assert before['cgroup_oom_kills_total{tree="t"}'] == 0
    os.write(start, b"!")
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    context.tree_pids.clear()
    collector.collect()
    assert values(collector)['cgroup_oom_kills_total{tree="t"}'] == 1
    collector.close()
    for fd in (go, start):
        os.close(fd)
