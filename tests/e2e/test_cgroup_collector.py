"""The cgroup collector on the real kernel: an OOM kill between two collections."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.cgroup.collector import CgroupCollector
from tests.support.collector_harness import values

MIB = 1 << 20


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A real cgroup with a memory limit of 24 MiB."""
    root = Path("/sys/fs/cgroup/memory") if os.path.isdir("/sys/fs/cgroup/memory") else Path("/sys/fs/cgroup")
    path = root / f"prom-probe-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if root.name == "memory" else "memory.max"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"needs root and a writable cgroupfs: {error}")
    try:
        if not (path / limit).exists():
            pytest.skip("the memory controller is not delegated")
        (path / limit).write_text(str(24 * MIB))
        yield path
    finally:
        deadline = time.monotonic() + 10
        while path.exists() and time.monotonic() < deadline:
            try:
                path.rmdir()
            except OSError:
                time.sleep(0.01)  # its last process is still on its way out


@pytest.mark.skipif(sys.platform != "linux", reason="needs cgroups")
def test_an_oom_kill_between_two_collections_is_told(memory_cgroup: Path) -> None:
    """The child is killed by the kernel; the counter of its tree's own cgroup rises."""
    go, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        waste = []
        while True:
            waste.append(b"x" * MIB)
    (memory_cgroup / "cgroup.procs").write_text(str(child))
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
