"""Filesystems on the real kernel: a mount whose server never answers, in a mount namespace of its own."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.system.collector import SystemCollector
from tests.support.collector_harness import values

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs mount namespaces")

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def mount_dead(point: Path) -> None:
    """A FUSE filesystem that nobody serves, for this process alone. Raises OSError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    check(libc.unshare(CLONE_NEWNS))
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    options = f"fd={os.open('/dev/fuse', os.O_RDWR)},rootmode=40000,user_id=0,group_id=0"
    check(libc.mount(b"dead", bytes(point), b"fuse.dead", 0, options.encode()))


def collect_beside_it(point: Path) -> dict[str, object]:
    """What a collector sees in a minute of made-up time."""
    try:
        mount_dead(point)
    except OSError as error:
        return {"skip": f"cannot mount: {error}"}
    log: list[str] = []
    now = 1000.0
    collector = SystemCollector(Context(log=lambda level, message: log.append(message), monotonic=lambda: now))
    for _ in range(60):
        collector.collect()
        now += 1
    return {"row": values(collector), "log": log}


def in_child(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Its result; the child must be able to end by itself, whatever hangs in it."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        with os.fdopen(write_end, "w") as pipe:
            json.dump(work(), pipe)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        if not select.select([pipe], [], [], 60)[0]:
            os.kill(pid, signal.SIGKILL)
        text = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    result: dict[str, object] = json.loads(text)
    return result


def test_a_mount_that_never_answers_hangs_nobody(tmp_path: Path) -> None:
    """The collections go on, the other filesystems keep their series, the process can end."""
    result = in_child(lambda: collect_beside_it(tmp_path))
    if "skip" in result:
        pytest.skip(str(result["skip"]))
    row, log = result["row"], result["log"]
    assert isinstance(row, dict)
    assert isinstance(log, list)
    assert row['prom_probe_source_readable{source="statvfs"}'] == 0
    sizes = [series for series in row if series.startswith("system_filesystem_size_bytes")]
    assert not any(str(tmp_path) in series for series in sizes)
    assert sum(str(tmp_path) in line for line in log) == 1
    assert row["system_memory_total_bytes"] > 0
