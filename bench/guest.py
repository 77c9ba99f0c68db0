"""What a wrapped program notices: its wall time, CPU time and peak memory, bare and in `prom-probe run`.

The program takes its own time, from its first line to its last: neither start counts, though the workers still start
beside its first half second. Budgets: wall and CPU time within 1 %, of a program that forks a lot within 3 %. Each is
run bare twice as often as wrapped, which tells what a difference between equal runs is worth. Twenty runs of each kind
take five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from operator import attrgetter
from statistics import median
from typing import NamedTuple

from bench.report import Row, print_table

# What comes before and after each program; it says what it has used.
BEGIN = "import json, os, resource, time\nbegan = time.monotonic()\n"
END = """
wall = time.monotonic() - began
uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(use.ru_utime + use.ru_stime for use in uses)
with open("/proc/self/status") as file:
    (peak,) = (int(line.split()[1]) for line in file if line.startswith("VmHWM"))
print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak}))
"""


class Guest(NamedTuple):
    """A program of about a second, and by what part it may take longer."""

    code: str
    within: float = 0.01


GUESTS = {
    "CPU": Guest("total = 0\nfor number in range(9_000_000):\n    total += number * number\n"),
    "fork and exec, 1,500 times": Guest(
        "for _ in range(1500):\n    os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)\n", 0.03
    ),
    "4 KiB writes and reads, 500,000 each": Guest(
        "import tempfile\n"
        "block = bytes(4096)\n"
        "with tempfile.TemporaryFile() as file:\n"
        "    for number in range(500_000):\n"
        "        os.pwrite(file.fileno(), block, number % 4096 * 4096)\n"
        "        os.pread(file.fileno(), 4096, number % 4096 * 4096)\n"
    ),
    "allocation, 16 MiB and back, 600 times": Guest(
        "for _ in range(600):\n    held = bytes(16 << 20).replace(b'x', b'y')\n"
    ),
}


class Use(NamedTuple):
    """What a run of a guest has used: seconds and KiB."""

    wall: float
    cpu: float
    peak: float


def run(guest: Guest, wrapper: list[str], folder: str) -> Use:
    """One run of it, by its own account."""
    env = {**os.environ, "XDG_STATE_HOME": folder, "TMPDIR": folder}
    argv = [*wrapper, sys.executable, "-c", BEGIN + guest.code + END]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=True)
    return Use(**json.loads(done.stdout))


def turns(guest: Guest, runs: int, folder: str) -> tuple[list[Use], list[Use], list[Use]]:
    """So many runs each: bare, wrapped, and bare again. Each is as often the first of its three as the last."""
    wrapper = [sys.executable, "-m", "prom_probe", "run"]
    wrapper += ["--web.listen-address=127.0.0.1:0", "--api.listen-address=127.0.0.1:0", "--"]
    bare: list[Use] = []
    wrapped: list[Use] = []
    again: list[Use] = []
    for number in range(runs):
        turn = [(bare, []), (wrapped, wrapper), (again, [])]
        for uses, words in turn if number % 2 else reversed(turn):
            uses.append(run(guest, words, folder))
    return bare, wrapped, again


def row(name: str, guest: Guest, bare: list[Use], wrapped: list[Use], again: list[Use]) -> Row:
    def more(of: Callable[[Use], float], uses: list[Use]) -> float:
        """By what part the median is above that of all bare runs."""
        return median(map(of, uses)) / median(map(of, bare + again)) - 1

    def noise(of: Callable[[Use], float]) -> float:
        return abs(median(map(of, again)) / median(map(of, bare)) - 1)

    wall, cpu = more(_wall, wrapped), more(_cpu, wrapped)
    within = max(wall, cpu) <= guest.within
    return (
        name,
        f"{median(map(_wall, bare + again)):.3f} / {median(map(_cpu, bare + again)):.3f}",
        f"{100 * wall:+.1f} % (±{100 * noise(_wall):.1f})",
        f"{100 * cpu:+.1f} % (±{100 * noise(_cpu):.1f})",
        f"{100 * more(_peak, wrapped):+.1f} %",
        f"{'yes' if within else 'no'} ({100 * guest.within:.0f} %)",
    )


_wall: Callable[[Use], float] = attrgetter("wall")
_cpu: Callable[[Use], float] = attrgetter("cpu")
_peak: Callable[[Use], float] = attrgetter("peak")

HEAD = ("Program", "Bare, wall / CPU (s)", "Wrapped: wall", "CPU", "Peak memory", "Within budget")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs of each kind")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(name, guest, *turns(guest, args.runs, folder)) for name, guest in GUESTS.items()]
    print_table(HEAD, rows)
    print(f"\nMedians of {args.runs} runs bare, wrapped, and bare again, in turn; ±: the two bare ones apart.")


if __name__ == "__main__":
    main()
