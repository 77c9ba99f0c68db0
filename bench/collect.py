"""What one collection costs, beside psutil's in the same run: process trees among 300 others, and the system."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import psutil

from bench.report import Row, percentile, print_table
from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.collectors.system.collector import SystemCollector
from prom_probe.model.watch import Watch

OTHERS = 300
# For a tree of 50 of which all have run: how many times quicker than psutil a collection is at least.
BUDGET_MEDIAN, BUDGET_P99 = 8, 6
ATTRIBUTES = ["cpu_times", "memory_info", "num_threads", "num_fds", "io_counters"]


def sleep() -> NoReturn:
    """Sleep for ever; SIGUSR1 wakes it for a moment."""
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    while True:
        signal.pause()


def sleeper() -> int:
    """A child that sleeps until it is killed."""
    pid = os.fork()
    if pid == 0:
        sleep()
    return pid


@contextmanager
def sleepers(count: int) -> Iterator[None]:
    """`count` processes that are in no tree."""
    pids = [sleeper() for _ in range(count)]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@contextmanager
def tree(count: int, name: str = "") -> Iterator[int]:
    """The root of a tree of `count` processes, three levels deep where there are so many; `name`: all their command."""
    ready, done = os.pipe()
    root = os.fork()
    if root == 0:
        os.setpgid(0, 0)
        if name:
            with open("/proc/self/comm", "w") as comm:
                comm.write(name)
        branch_ready, branch_done = os.pipe()
        left = count - 1
        while left > 0:
            grandchildren = min(9, left - 1)
            left -= 1 + grandchildren
            if os.fork() == 0:
                for _ in range(grandchildren):
                    sleeper()
                os.write(branch_done, b"!")
                sleep()
            os.read(branch_ready, 1)
        os.write(done, b"!")
        sleep()
    os.read(ready, 1)
    try:
        yield root
    finally:
        os.killpg(root, signal.SIGKILL)
        os.waitpid(root, 0)
        os.close(ready)
        os.close(done)


@contextmanager
def forker() -> Iterator[Callable[[], None]]:
    """A function that has another process fork and reap; our own would pay for copied pages ever after."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        while theirs.recv(1):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            theirs.send(b"!")
        os._exit(0)
    theirs.close()

    def fork() -> None:
        ours.send(b"!")
        ours.recv(1)

    try:
        yield fork
    finally:
        ours.close()
        os.waitpid(pid, 0)


def measure(work: Callable[[], object], rounds: int, before: Callable[[], object] | None = None) -> list[float]:
    """Microseconds of each call; what `before` does is not counted."""
    times = []
    for _ in range(rounds):
        if before is not None:
            before()
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e3)
    return times


def psutil_tree(root: int) -> int:
    """psutil's way to the same numbers."""
    parent = psutil.Process(root)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        with process.oneshot():
            process.as_dict(ATTRIBUTES)
    return len(processes)


def psutil_system() -> None:
    psutil.cpu_times()
    psutil.virtual_memory()
    psutil.swap_memory()
    psutil.getloadavg()
    psutil.cpu_stats()
    psutil.boot_time()
    psutil.cpu_count()
    psutil.net_io_counters(pernic=True)
    psutil.disk_io_counters(perdisk=True)


def row(name: str, ours: list[float], theirs: list[float]) -> Row:
    """A line of the table: microseconds, median and p99, and how many times quicker we are at each."""
    mine, other = percentile(ours, 0.5), percentile(theirs, 0.5)
    mine_p99, other_p99 = percentile(ours, 0.99), percentile(theirs, 0.99)
    cells = (f"{value:.0f}" for value in (mine, mine_p99, other, other_p99))
    return name, *cells, f"{other / mine:.1f}", f"{other_p99 / mine_p99:.1f}"


def bench_tree(count: int, rounds: int) -> Iterator[Row]:
    with tree(count) as root, forker() as fork:
        collector = ProcessCollector(Context(watches=(Watch("bench", "pid", str(root)),)))
        for _ in range(10):
            collector.collect()
        assert psutil_tree(root) == count

        def wake() -> None:
            os.killpg(root, signal.SIGUSR1)
            time.sleep(0.002 + count * 0.0001)

        def wake_and_fork() -> None:
            wake()
            fork()

        cases: list[tuple[str, Callable[[], None] | None]] = [
            ("asleep", None),
            ("awake", wake),
            ("awake, a fork elsewhere", wake_and_fork),
        ]
        for name, before in cases:
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(10):  # in turns, so that a noisy moment falls on both
                ours += measure(collector.collect, rounds // 10, before)
                theirs += measure(lambda: psutil_tree(root), max(1, rounds // 100), before)
            yield row(f"tree of {count}, {name}", ours, theirs)
        assert list(collector.layout.row).count(float(count)), "the collector has lost a process"
        collector.close()


def bench_system(rounds: int) -> Row:
    collector = SystemCollector(Context())
    collector.collect()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(10):
        ours += measure(collector.collect, rounds // 10)
        theirs += measure(psutil_system, rounds // 10)
    collector.close()
    return row("system", ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 10, 50, 200])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--syscalls", action="store_true", help="count system calls by strace instead")
    arguments = parser.parse_args()
    if arguments.syscalls:
        from bench.syscalls import report  # it needs the tree from here

        report(arguments.processes)
        return
    head = ("us a collection", "ours median", "p99", "psutil median", "p99", "psutil / ours", "at p99")
    rows: list[Row] = []
    with sleepers(OTHERS):
        for count in arguments.processes:
            rows += bench_tree(count, arguments.rounds)
        rows.append(bench_system(arguments.rounds))
    print_table(head, rows)
    print(f"budget of the tree of 50, awake: psutil / ours at least {BUDGET_MEDIAN}, at p99 {BUDGET_P99}")


if __name__ == "__main__":
    main()
