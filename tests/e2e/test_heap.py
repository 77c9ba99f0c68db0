"""All threads of the aggregator use one heap: the free end of any other is not given back."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path

import pytest

from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

# glibc reserves so much for a further heap (HEAP_MAX_SIZE), and begins it at a multiple of that.
_RESERVED = 64 << 20

_MAPPING = re.compile(r"(?P<begin>\w+)-(?P<end>\w+) (?P<mode>\S+) 0+ 00:00 0 *", re.MULTILINE)


def further_heaps(maps: str) -> list[str]:
    """Where glibc has heaps beside the first one, by a /proc/PID/maps: pages in use, and then reserved ones."""
    found, before = [], 0
    for line in maps.splitlines():
        mapping = _MAPPING.fullmatch(line)
        if mapping is None:
            continue
        begin, end = int(mapping["begin"], 16), int(mapping["end"], 16)
        if mapping["mode"] == "---p" and end % _RESERVED == 0 and begin == before:
            found.append(line)
        before = end
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has several heaps")
def test_all_threads_share_one_heap(tmp_path: Path) -> None:
    """The one that writes to the disk starts first, then those of queries."""
    with Sidecar("--", "sleep", "1000", flags=["--interval=100ms", f"--storage.tsdb.path={tmp_path}/store"]) as sidecar:
        wait_for("something on the disk", lambda: sidecar.metric("prom_probe_tsdb_wal_bytes"))
        assert sidecar.query("proctree_processes", start=time.time() - 5, end=time.time(), step=1)
        aggregator = Path(f"/proc/{sidecar.worker('aggregator')}")
        assert len(list((aggregator / "task").iterdir())) >= 3
        assert not further_heaps((aggregator / "maps").read_text())
