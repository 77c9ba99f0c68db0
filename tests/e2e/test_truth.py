"""A tree drawn at random, beside the store: every process by its name, its peak, and the CPU time of all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import generated_tree
from tests.support.generated_tree import LastWords, read_last_words
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

# A process that lives for so long is read by a collection in any case, where collections are a second apart.
LIVED_S = 1.1


def collections_of(sidecar: Sidecar) -> list[float]:
    """When collections were, by the timestamps of the store, unix seconds."""
    (series,) = sidecar.query("proctree_processes[5m]")
    return [float(at) for at, _ in series["values"]]


def by_pid(sidecar: Sidecar, expr: str) -> dict[int, dict[str, float]]:
    """Values by PID and name."""
    found: dict[int, dict[str, float]] = {}
    for series in sidecar.query(expr):
        found.setdefault(int(series["metric"]["pid"]), {})[series["metric"]["comm"]] = float(series["value"][1])
    return found


def seen(words: LastWords, times: list[float]) -> bool:
    """Whether a collection was in its life; 50 ms of the collection's own are left out at both ends."""
    return any(words.began_s + 0.05 < at < words.ended_s - 0.05 for at in times)


def test_every_process_is_named_with_its_peak(tmp_path: Path) -> None:
    """The authorities are VmHWM, as each process reads it at its end, and what wait4(2) says that they used."""
    seed = int(os.environ.get("TREE_SEED") or random.SystemRandom().randrange(1 << 32))
    print("TREE_SEED", seed)
    argv = [sys.executable, "-S", generated_tree.__file__, str(seed), str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as root, Sidecar(f"--watch=tree=pid:{root.pid}") as sidecar:
        wait_for("the tree's end", lambda: (tmp_path / "root").exists())
        words = read_last_words(tmp_path)
        root_words = words.pop("root")
        end_s = root_words.ended_s
        wait_for("a collection after it", lambda: max(collections_of(sidecar)) > end_s + 1)
        times = collections_of(sidecar)
        peaks = by_pid(sidecar, "max_over_time(proctree_process_memory_peak_bytes[5m])")
        cpu_s = sidecar.value("sum(max_over_time(proctree_cpu_seconds_total[5m]))")
        root.communicate(b"\n")
    strict = {name: one for name, one in words.items() if one.ended_s - one.began_s >= LIVED_S and seen(one, times)}
    missing = {name: one for name, one in strict.items() if name not in peaks.get(one.pid, {})}
    assert not missing
    for name, one in strict.items():
        assert peaks[one.pid][name] == pytest.approx(one.peak_bytes, rel=0.05), name
    for at in times:
        brief = [(one, name) for name, one in words.items() if name not in strict and seen(one, [at])]
        if brief:
            largest, name = max(brief, key=lambda item: item[0].peak_bytes)
            assert name in peaks.get(largest.pid, {}), f"the largest at {at}"
    assert cpu_s is not None and root_words.cpu_s > sum(one.cpu_s for one in words.values())
    assert cpu_s == pytest.approx(root_words.cpu_s, rel=0.02)
    print(f"{len(strict)} of {len(words)} compared, {len(times)} collections")
