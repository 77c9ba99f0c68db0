"""Runs the benchmarks one after the other and writes down what they print: results.json, and from it pages and plots.

    python -m bench                    all of them; half an hour on two quiet cores
    python -m bench query footprint    these; what is known of the others stays
    python -m bench --report           the pages and plots anew, without measuring anything

A benchmark is a module of its own that prints Markdown tables; its tables and its other lines are taken as they are.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.pages import RESULTS, ROOT, parse_output, write_pages
from bench.plots import draw_plots

Results = dict[str, Any]


class Benchmark(NamedTuple):
    """A module of this package: its arguments, and the minutes after which it is given up."""

    arguments: tuple[str, ...] = ()
    minutes: float = 5
    module: str = ""


# In the order in which they are run and shown.
BENCHES = {
    "footprint": Benchmark(),
    "footprint, an hour": Benchmark(("--seconds", "5", "--hours", "1"), module="footprint"),
    "guest": Benchmark(minutes=8),
    "collect": Benchmark(),
    "system calls": Benchmark(("--syscalls",), module="collect"),
    "exporters": Benchmark(),
    "cadence": Benchmark(("--seconds", "30")),
    "transport": Benchmark(),
    "store": Benchmark(minutes=8),
    "day": Benchmark(minutes=10),
    "query": Benchmark(minutes=20),
    "dashboards": Benchmark(minutes=12),
    "beside": Benchmark(),
    "remote_write": Benchmark(),
    "remote": Benchmark(),
    "fleet": Benchmark(),
    "serve": Benchmark(minutes=8),
    "scrape": Benchmark(),
    "gpu": Benchmark(),
    "page": Benchmark(minutes=12),
}

# Whose versions the figures depend on.
PEERS = ("prometheus", "victoria-metrics", "prometheus-node-exporter", "prometheus-process-exporter")
PACKAGES = ("psutil", "prometheus-client", "numpy", "msgspec", "tinyflux", "fastapi", "falcon", "uvicorn")


def run(name: str) -> Results:
    """One benchmark's entry. RuntimeError with what it said, if it fails."""
    bench = BENCHES[name]
    argv = [sys.executable, "-m", f"bench.{bench.module or name}", *bench.arguments]
    began = time.monotonic()
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60 * bench.minutes)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done within {bench.minutes:g} minutes") from None
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-2000:]}")
    return {
        "command": " ".join(["python -m", *argv[2:]]),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "seconds": round(time.monotonic() - began),
        "cpu": machine()["CPU"],
        "parts": parse_output(done.stdout),
    }


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line), ""
    )
    memory = next((int(line.split()[1]) for line in _read("/proc/meminfo").splitlines() if "MemTotal" in line), 0)
    found = {
        "CPU": f"{os.cpu_count()} x {cpu or platform.machine()}",
        "memory": f"{memory / (1 << 20):.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }
    for name in PEERS:
        if installed := _output("dpkg-query", "-W", "-f=${Version}", name):
            found[name] = installed
    from importlib.metadata import PackageNotFoundError, version

    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--report", action="store_true", help="write pages and plots from what is known")
    args = parser.parse_args()
    if unknown := set(args.names) - BENCHES.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"benches": {}}
    failed = []
    if not args.report:
        results["machine"] = machine()
        for name in args.names or BENCHES:
            print(f"{name} …", end=" ", flush=True)
            try:
                results["benches"][name] = run(name)
                print(f"{results['benches'][name]['seconds']} s", flush=True)
            except RuntimeError as error:
                failed.append(name)
                print(error, flush=True)
        results["benches"] = {name: results["benches"][name] for name in BENCHES if name in results["benches"]}
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write_pages(results)
    draw_plots(results)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
