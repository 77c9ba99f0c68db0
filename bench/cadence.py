"""How evenly samples come, idle and with the machine 4x oversubscribed, beside a loop of time.sleep in the same run."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from bench.collect import tree
from bench.report import Row, percentile, print_table
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

HEAD = ("jitter, ms", "p50", "p99", "max", "begun late, p99", "samples", "overruns", "peer p50", "p99", "max")
OVERSUBSCRIBED = 4

# The peer: the same deadlines and nothing to do; it prints the wall clock in ms, as our samples have it.
PEER = """
import sys, time
interval, beat = float(sys.argv[1]), time.monotonic()
while True:
    beat += interval
    time.sleep(max(0.0, beat - time.monotonic()))
    print(time.time_ns() // 1_000_000, flush=True)
"""
BUSY = "while True: pass"


class Case(NamedTuple):
    name: str
    interval_s: float
    busy: bool
    priority: str


CASES = (
    Case("idle, 1 s", 1.0, False, "normal"),
    Case("idle, 100 ms", 0.1, False, "normal"),
    Case("4x, 100 ms, normal", 0.1, True, "normal"),
    Case("4x, 100 ms, high", 0.1, True, "high"),
    Case("4x, 100 ms, realtime", 0.1, True, "realtime"),
)


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that compute without end, in our session, as a program's workers would be in its own."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def peer(interval_s: float) -> Iterator[list[int]]:
    """Fills the list, at its end, with the times at which a loop of time.sleep woke; in a session of its own, as we."""
    times: list[int] = []
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, str(interval_s)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield times
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        times += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()


def jitter(times_ms: Sequence[int], interval_s: float) -> list[float]:
    """How far each step between two samples is from the interval, in ms, of which one may be the times' rounding.

    A skipped beat is told as an overrun, not here.
    """
    interval_ms = interval_s * 1000
    steps = [later - earlier for earlier, later in pairwise(times_ms)]
    return [abs(step - max(1, round(step / interval_ms)) * interval_ms) for step in steps]


def sample_times(sidecar: Sidecar, seconds: float) -> list[int]:
    """The times of the tree's samples of the last so many seconds, as the query API gives them, in ms."""
    (series,) = sidecar.query(f'proctree_processes{{tree="bench"}}[{round(seconds)}s]')
    return [round(float(t) * 1000) for t, _ in series["values"]]


def overruns(sidecar: Sidecar) -> float:
    return sidecar.metric("prom_probe_collector_overruns_total", collector="process") or 0


def delays(sidecar: Sidecar) -> dict[float, float]:
    """The process worker's prom_probe_worker_beat_delay_seconds: beats by upper bound in seconds, cumulative."""
    found = {}
    for (name, labels), count in sidecar.metrics().items():
        pairs = dict(labels)
        if name == "prom_probe_worker_beat_delay_seconds_bucket" and pairs["worker"] == "process":
            found[float(pairs["le"])] = count
    return dict(sorted(found.items()))


def bucket_p99(before: dict[float, float], after: dict[float, float]) -> str:
    """The upper bound, in ms, of the bucket that the 99th percentile of the beats between two readings is in."""
    counts = {bound: after[bound] - before[bound] for bound in after}
    wanted = 0.99 * max(counts.values())
    bound = next(bound for bound, count in counts.items() if count >= wanted)
    return f"<= {bound * 1000:g}"


def run(case: Case, seconds: float, root: int) -> Row:
    flags = [f"--interval={round(case.interval_s * 1000)}ms", f"--collect.priority={case.priority}"]
    loops = OVERSUBSCRIBED * (os.cpu_count() or 1) if case.busy else 0
    with Sidecar(f"--watch=bench=pid:{root}", flags=flags) as sidecar:
        wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree="bench"))
        with busy(loops), peer(case.interval_s) as peer_times:
            time.sleep(2)  # until all of them run
            before, delays_before = overruns(sidecar), delays(sidecar)
            time.sleep(seconds)
            times = sample_times(sidecar, seconds)
            after, delays_after = overruns(sidecar), delays(sidecar)
            granted = sidecar.metric("prom_probe_worker_priority_granted", worker="process")
    name = case.name if granted else f"{case.name} (not given)"
    theirs = peer_times[-len(times) :]
    late = bucket_p99(delays_before, delays_after)
    ours = (*spread(jitter(times, case.interval_s)), late, str(len(times)), f"{after - before:.0f}")
    return (name, *ours, *spread(jitter(theirs, case.interval_s)))


def spread(values: Sequence[float]) -> Row:
    return f"{percentile(values, 0.5):.0f}", f"{percentile(values, 0.99):.0f}", f"{max(values):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each case")
    parser.add_argument("--processes", type=int, default=50, help="in the watched tree")
    arguments = parser.parse_args()
    with tree(arguments.processes) as root:
        print_table(HEAD, [run(case, arguments.seconds, root) for case in CASES])


if __name__ == "__main__":
    main()
