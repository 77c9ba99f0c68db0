"""The probe workers' beat: the priority that was asked for, and short intervals with a large tree."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.priorities import PRIORITIES, has_realtime
from tests.support.sidecar import FIFTY, Sidecar
from tests.support.waiting import wait_for

WORKERS = {"process": True, "system": True, "aggregator": False}  # whether it is a probe
# Drops CAP_SYS_NICE (23) from the bounding set (PR_CAPBSET_DROP is 24): what is executed then does not have it.
DROP = """
import ctypes, os, resource, sys
ctypes.CDLL(None).prctl(24, 23, 0, 0, 0)
for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
    resource.setrlimit(limit, (0, 0))
os.execv(sys.argv[1], sys.argv[1:])
"""
SCHED_OTHER, SCHED_RR = 0, 2


def scheduling(pid: int) -> tuple[int, int]:
    """(nice, policy) of a process, by /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[16]), int(fields[38])


def may_raise() -> bool:
    """Whether this process may raise a priority."""
    if not has_realtime():
        return False
    pid = os.fork()
    if pid == 0:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -10)
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def granted(sidecar: Sidecar, value: float) -> bool:
    """Whether both probes, and nobody else, say this of their priority."""
    found = {
        worker: sidecar.metric("prom_probe_worker_priority_granted", worker=worker)
        for worker in WORKERS
        if sidecar.metric("prom_probe_worker_up", worker=worker)
    }
    return found == {worker: value if probe else None for worker, probe in WORKERS.items()}


@pytest.mark.parametrize(
    ("priority", "expected"),
    [("normal", (0, SCHED_OTHER)), ("high", (-10, SCHED_OTHER)), ("realtime", (0, SCHED_RR))],
)
def test_the_probes_get_the_priority_that_is_asked_for(priority: str, expected: tuple[int, int]) -> None:
    """They alone: neither the aggregator nor the command, which keep what they were started with."""
    if priority != "normal" and not may_raise():
        pytest.skip("may not raise priorities here")
    before = scheduling(os.getpid())
    code = "print(flush=True); import time; time.sleep(600)"
    with Sidecar("--", sys.executable, "-c", code, flags=[f"--collect.priority={priority}"]) as sidecar:
        wait_for("the probes say so", lambda: granted(sidecar, 1))
        for worker, probe in WORKERS.items():
            wanted = expected if probe and priority != "normal" else before
            assert scheduling(sidecar.worker(worker)) == wanted, worker
        assert scheduling(sidecar.process.pid) == before
        assert "is not granted" not in sidecar.stderr


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_denied_priority_is_told_and_everything_works_without(priority: str) -> None:
    """One line a probe in the log, 0 in the metric, and the samples come."""
    prefix = [sys.executable, "-c", DROP]
    with Sidecar(f"--watch=me=pid:{os.getpid()}", flags=[f"--collect.priority={priority}"], prefix=prefix) as sidecar:
        wait_for("the probes say so", lambda: granted(sidecar, 0))
        wait_for("samples", lambda: sidecar.metric("proctree_processes", tree="me"))
        assert sidecar.stderr.count(f"priority {priority} is not granted: it needs CAP_SYS_NICE or RLIMIT_") == 2


def test_a_tree_of_50_is_sampled_every_100_ms() -> None:
    """Each beat has a sample and is told with its delay; beats that were skipped are counted as overruns."""
    tree = os.path.basename(sys.executable)
    samples = f'proctree_processes{{tree="{tree}"}}[1h]'
    counted = {
        "runs": ("prom_probe_collector_runs_total", {"collector": "process"}),
        "beats": ("prom_probe_worker_beat_delay_seconds_count", {"worker": "process"}),
        "overruns": ("prom_probe_collector_overruns_total", {"collector": "process"}),
    }
    with Sidecar("--", sys.executable, "-c", FIFTY, flags=["--interval=100ms"]) as sidecar:
        wait_for("50 processes", lambda: sidecar.metric("proctree_processes", tree=tree) == 50)
        wait_for(
            "30 samples",
            lambda: (sidecar.value(f'count_over_time(proctree_processes{{tree="{tree}"}}[1h])') or 0) >= 30,
        )
        (series,) = sidecar.query(samples)
        metrics = sidecar.metrics()
    found = {what: metrics[name, frozenset(labels.items())] for what, (name, labels) in counted.items()}
    assert abs(found["runs"] - 1 - found["beats"]) <= 1
    times = [t for t, _ in series["values"]]
    skipped = (times[-1] - times[0]) / 0.1 - (len(times) - 1)
    assert -0.5 < skipped < found["overruns"] + 1.5
