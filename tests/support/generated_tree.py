"""A tree of processes drawn at random, each of which writes down its peak and its CPU time at its end.

python -S generated_tree.py SEED DIRECTORY

Of 60 processes 30 live for as long as the tree, and 30 for 0.2 to 3 seconds. Memory is touched at a process's begin and
held; CPU time is used until so much of it is used up.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

PROCESSES, BRIEF = 60, 30
MIB = 1 << 20


class Plan(NamedTuple):
    """What a process will do: its name, when it begins, how long it lives, how much memory and CPU it uses."""

    name: str
    begins_s: float
    lives_s: float
    memory_bytes: int
    cpu_s: float


class LastWords(NamedTuple):
    """What a process said of itself at its end, by the kernel's account."""

    pid: int
    peak_bytes: int  # VmHWM
    cpu_s: float  # of the root, with its exit and its children's too, by wait4(2)
    began_s: float  # unix time from which on it had its name and its memory
    ended_s: float


def draw(seed: int) -> list[Plan]:
    """The processes of a tree."""
    source = random.Random(seed)
    plans = []
    for i in range(BRIEF):
        lives_s = source.uniform(0.2, 3)
        memory, cpu_s = source.randint(1, 30) * MIB, source.uniform(0.02, min(0.15, lives_s / 4))
        plans.append(Plan(f"brief-{i}", source.uniform(0, 6), lives_s, memory, cpu_s))
    plans += [
        Plan(f"long-{i}", 0.0, 10.0, source.randint(1, 8) * MIB, source.uniform(0.05, 0.1))
        for i in range(PROCESSES - BRIEF - 1)
    ]
    return plans


def live(plan: Plan, directory: str, zero_s: float) -> None:
    """Do it, and write the last words."""
    while (now_s := time.monotonic()) < zero_s + plan.begins_s:
        time.sleep(zero_s + plan.begins_s - now_s)
    pid = os.fork()
    if pid:
        return
    begun_s = time.monotonic()
    Path("/proc/self/comm").write_text(plan.name)
    memory = bytearray(b"x") * plan.memory_bytes
    began_s = time.time()
    while time.process_time() < plan.cpu_s and time.monotonic() < begun_s + plan.lives_s:
        pass
    while (left_s := begun_s + plan.lives_s - time.monotonic()) > 0:
        time.sleep(left_s)
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
    words = LastWords(os.getpid(), peak, time.process_time(), began_s, time.time())
    path = f"{directory}/{plan.name}"
    Path(f"{path}.new").write_text(" ".join(map(str, words)))
    os.rename(f"{path}.new", path)
    del memory
    os._exit(0)


def read_last_words(directory: Path) -> dict[str, LastWords]:
    """By the names of the processes."""
    words = {}
    for path in directory.iterdir():
        pid, peak, cpu, began, ended = path.read_text().split()
        words[path.name] = LastWords(int(pid), int(peak), float(cpu), float(began), float(ended))
    return words


def main() -> None:
    seed, directory = int(sys.argv[1]), sys.argv[2]
    zero_s = time.monotonic() + 1.5
    for plan in sorted(draw(seed), key=lambda plan: plan.begins_s):
        live(plan, directory, zero_s)
    cpu_s = 0.0
    for _ in range(PROCESSES - 1):
        _, _, used = os.wait4(-1, 0)
        cpu_s += used.ru_utime + used.ru_stime
    cpu_s += time.process_time()
    Path(f"{directory}/root").write_text(f"{os.getpid()} 0 {cpu_s} 0 {time.time()}")
    sys.stdin.read(1)  # until the store has been asked


if __name__ == "__main__":
    main()
