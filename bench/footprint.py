"""Proportional set size (PSS) of every process of the sidecar, and CPU, around a 50-process tree at 1 s."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.request
from pathlib import Path

from bench.report import Row, print_table
from tests.support.sidecar import FIFTY, Sidecar, children, read_comm
from tests.support.waiting import wait_for

TREE_NAME = os.path.basename(sys.executable)


def pss_kib(pid: int) -> int:
    """Kibibytes of PSS, shared pages divided by how many share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(f"no Pss of {pid}")


def cpu_seconds(pid: int) -> float:
    """Exact CPU seconds of a process's live threads; /proc/PID/stat counts whole ticks."""
    return (
        sum(
            int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            for task in os.listdir(f"/proc/{pid}/task")
        )
        / 1e9
    )


def measure(pids: dict[str, int]) -> dict[str, int]:
    return {name: pss_kib(pid) for name, pid in pids.items()}


def load(sidecar: Sidecar, hours: float) -> None:
    """As many series as a 50-process tree has, by remote write, until the store has them sealed."""
    from tests.support.dataset import counters, gauges
    from tests.support.peers import encode_write

    samples = int(hours * 3600)
    series = [*counters(300, samples), *gauges(300, samples)]
    start_ms = (int(time.time()) - samples) * 1000
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    for first in range(0, samples, 100):
        times = range(start_ms + first * 1000, start_ms + min(first + 100, samples) * 1000, 1000)
        body = encode_write((labels, times, values[first : first + 100]) for labels, values in series)
        request = urllib.request.Request(f"{sidecar.api}/api/v1/write", body, headers)
        urllib.request.urlopen(request, timeout=30).close()
    before, since = 0.0, time.monotonic()
    while time.monotonic() - since < 5:
        time.sleep(0.5)
        now = sidecar.metric("prom_probe_tsdb_storage_bytes") or 0
        if abs(now - before) > 50_000:
            before, since = now, time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to run before the first measurement")
    parser.add_argument("--hours", type=float, default=0.0, help="load so many hours of samples first, a second each")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    flags = ["--web.enable-remote-write-receiver"] if args.hours else []
    with Sidecar("--", sys.executable, "-c", FIFTY, flags=flags) as sidecar:
        wait_for("50 processes", lambda: (sidecar.metric("proctree_processes", tree=TREE_NAME) or 0) >= 50)
        if args.hours:
            load(sidecar, args.hours)
        pids = {"supervisor": sidecar.process.pid}
        pids |= {read_comm(pid): pid for pid in children(sidecar.process.pid) if read_comm(pid).startswith("pp-")}
        used, start = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(args.seconds)
        elapsed = time.monotonic() - start
        cpu = {name: (cpu_seconds(pid) - used[name]) / elapsed for name, pid in pids.items()}
        before = measure(pids)
        samples = sidecar.metric("prom_probe_tsdb_samples") or 0
        bytes_ = sidecar.metric("prom_probe_tsdb_storage_bytes") or 0
        for _ in range(20):
            end = time.time()
            sidecar.query("sum by (mode) (rate(proctree_cpu_seconds_total[10s]))", start=end - 60, end=end, step=1)
            sidecar.query("proctree_process_resident_memory_bytes", start=end - 60, end=end, step=1)
        after = measure(pids)
    if args.json:
        print(
            json.dumps(
                {"before_kib": before, "after_kib": after, "cpu_ratio": cpu, "samples": samples, "bytes": bytes_}
            )
        )
        return
    rows: list[Row] = [
        (name, f"{before[name] / 1024:.1f}", f"{after[name] / 1024:.1f}", f"{cpu[name]:.2%}") for name in pids
    ]
    total = (sum(before.values()) / 1024, sum(after.values()) / 1024, sum(cpu.values()))
    rows.append(("total", f"{total[0]:.1f}", f"{total[1]:.1f}", f"{total[2]:.2%}"))
    print_table(("Process", f"PSS MiB after {args.seconds:g} s", "after range queries", "CPU of one core"), rows)
    print(f"{samples:g} samples in {bytes_ / 1024:.0f} KiB; budgets: 36 MB before, 52 MB after, 1 % CPU")
    if args.hours:
        print(f"without the samples' own bytes: {total[0] - bytes_ / (1 << 20):.1f} MiB; budget 36 MB")


if __name__ == "__main__":
    main()
