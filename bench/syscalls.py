"""System calls of the process worker a beat, counted by strace, beside the number that follows from its files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.collect import tree
from bench.report import Row, print_table
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

HEAD = ("system calls a beat", "by files", "counted", "which")
INTERVAL_S = 0.2
FRAMES = 3  # of the worker's three collectors, each rings the bell once
SELECTS = ("select", "pselect6", "_newselect")
HOW = """by files, asleep: each process's CPU clock, and its statm (memory can be swapped out at any time)
by files, awake:  each process's CPU clock, and each of its kept files once
both:             each other kept file once (cgroup, our own processes, loadavg), a ring of the bell for each of the
                  three collectors, one wait for the next beat; status (every 8th beat) and all files of a process that
                  sleeps (every 32nd) are in the counted number alone"""


def kept_files(worker: int, members: set[int]) -> tuple[int, int]:
    """How many files the worker keeps open: of the tree's processes, and others of the kernel's."""
    of_tree = others = 0
    for fd in os.listdir(f"/proc/{worker}/fd"):
        try:
            target = os.readlink(f"/proc/{worker}/fd/{fd}")
        except OSError:
            continue
        match = re.match(r"/proc/(\d+)/", target)
        if match and int(match[1]) in members:
            of_tree += 1
        elif target.startswith(("/proc/", "/sys/")):
            others += 1
    return of_tree, others


def group(root: int) -> set[int]:
    """The processes of the root's process group."""
    members = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == root:
                    members.add(int(name))
            except ProcessLookupError:
                continue
    return members


@contextmanager
def waking(root: int, pause_s: float) -> Iterator[None]:
    """Wake every process of the tree again and again."""
    ended = threading.Event()

    def wake() -> None:
        while not ended.wait(pause_s):
            os.killpg(root, signal.SIGUSR1)

    thread = threading.Thread(target=wake)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def count(worker: int, seconds: float) -> Counter[str]:
    """Calls by name while strace is attached for so long."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table"
        argv = ["strace", "-c", "-f", "-p", str(worker), "-o", str(table)]
        strace = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        strace.send_signal(signal.SIGINT)
        strace.wait(30)
        calls: Counter[str] = Counter()
        for line in table.read_text().splitlines():
            fields = line.split()  # % time, seconds, usecs/call, calls, perhaps errors, name
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                calls[fields[-1]] += int(fields[3])
        return calls


def row(name: str, by_files: float, calls: Counter[str]) -> Row:
    beats = sum(calls[select] for select in SELECTS)
    which = ", ".join(f"{call} {number / beats:.1f}" for call, number in calls.most_common(7))
    return name, f"{by_files:.0f}", f"{calls.total() / beats:.1f}", which


def rows(processes: int, seconds: float) -> Iterator[Row]:
    flags = [f"--interval={round(INTERVAL_S * 1000)}ms"]
    with tree(processes) as root, Sidecar(f"--watch=bench=pid:{root}", flags=flags) as sidecar:
        wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree="bench") == processes)
        time.sleep(30 * INTERVAL_S)  # until all have series and every file is open
        worker, members = sidecar.worker("process"), group(root)
        of_tree, others = kept_files(worker, members)
        common = others + FRAMES + 1
        yield row(f"tree of {processes}, asleep", 2 * processes + common, count(worker, seconds))
        with waking(root, INTERVAL_S / 4):
            yield row(f"tree of {processes}, awake", of_tree + processes + common, count(worker, seconds))


def report(sizes: list[int], seconds: float = 5.0) -> None:
    """Print the table; a line where there is no strace."""
    if shutil.which("strace") is None:
        print("strace is not installed: system calls are not counted")
        return
    print_table(HEAD, [line for processes in sizes for line in rows(processes, seconds)])
    print(HOW)
