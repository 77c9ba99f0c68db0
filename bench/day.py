"""A day's life of the store in fast motion: 50 long-lived processes, others that come and go, an hour of fork storm.

python -m bench.day [--beats 86400] [--storm 50]

With fewer beats, the retention and the storm are shorter in proportion. A child lives the same life without a store;
what this process has more than that one is the store's.
"""

from __future__ import annotations

import argparse
import gc
import os
import time

from bench.report import Row, print_table
from prom_probe.model.labels import label_value
from prom_probe.model.matcher import Matcher
from prom_probe.threads import HeapTrimmer
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.day import START_MS, Feed, Life


def memory_mb() -> tuple[float, float]:
    """Resident memory, and its anonymous part."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        resident, shared = (int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6 for pages in stream.read().split()[1:3])
    return resident, resident - shared


class Day:
    """Its hours and its storm, in beats."""

    def __init__(self, beats: int, storm: int) -> None:
        self.beats = beats
        self.retention = beats // 4
        self.storm = range(beats // 3, beats // 3 + beats // 24)
        self.marks = {*range(0, beats, max(1, beats // 24)), beats - 1}  # of the table
        self.minute = max(1, beats // 1440)  # between two looks at the memory
        self._born = storm

    def born(self, beat: int) -> int:
        """How many processes begin."""
        return self._born if beat in self.storm else int(beat % 5 == 0)


def life_alone(day: Day) -> list[float]:
    """The anonymous memory, each minute, of a child that lives the day without a store, in MB."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        life = Life()
        used = []
        for beat in range(day.beats):
            life.beat(beat, day.born(beat))
            if beat % day.minute == 0:
                used.append(memory_mb()[1])
        with os.fdopen(writing, "w") as stream:
            stream.write(" ".join(map(str, used)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        used = [float(word) for word in stream.read().split()]
    os.waitpid(pid, 0)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description="A day's life of the store in fast motion.")
    parser.add_argument("--beats", type=int, default=86_400)
    parser.add_argument("--storm", type=int, default=50, help="processes born a second in the hour of the storm")
    args = parser.parse_args()
    day = Day(args.beats, args.storm)
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # as the aggregator
    alone = life_alone(day)
    store, life = Store(StoreOptions(retention_ms=day.retention * 1000)), Life()
    feed, trimmer = Feed(store, life), HeapTrimmer(lambda: store.stats().bytes)
    rows: list[Row] = []
    taken: list[tuple[float, float]] = []  # each minute: what the store takes, and what it accounts for
    largest: list[int] = []  # the PIDs of the largest newcomer of each second of the storm
    begun = time.process_time()
    for beat in range(day.beats):
        life.beat(beat, day.born(beat))
        feed.send(START_MS + beat * 1000)
        if beat in day.storm:
            largest.append(life.largest)
        if beat == day.storm[-1]:
            print_remembered(store, largest)
        if beat % day.minute == 0:
            trimmer.check()
            taken.append((memory_mb()[1] - alone[len(taken)], store.stats().bytes / 1e6))
        if beat in day.marks:
            stats = store.stats()
            cells = (f"{stats.series:,}", f"{stats.samples:,}", f"{taken[-1][1]:.1f}", f"{taken[-1][0]:.1f}")
            spent = f"{time.process_time() - begun:.0f}"
            rows.append((f"{beat:,}", *cells, f"{memory_mb()[0]:.0f}", spent, str(stats.rejected)))
    columns = ("beat", "series", "samples", "accounted MB", "taken MB", "resident MB", "CPU s", "rejected")
    print_table(columns, rows)
    (group,) = store.snapshot().select(0, START_MS * 2, [Matcher("pid", "=", "100")])
    hours = (group.timestamps[-1] - group.timestamps[0]) / 3_600_000
    print(f"\na long-lived process: {len(group.labels)} series, {hours:.2f} hours, no gap: {group.dense}")
    print_verdict(day, taken)


def print_remembered(store: Store, largest: list[int]) -> None:
    """Of how many of these processes the store knows the memory, at the storm's end."""
    matchers = [Matcher("__name__", "=", "proctree_process_resident_memory_bytes")]
    known = {label_value(labels, "pid") for labels in store.snapshot().series(0, START_MS * 2, matchers)}
    count = sum(str(pid) in known for pid in largest)
    print(f"the largest newcomers of {len(largest):,} seconds of the storm: {count:,} are in the store\n")


def print_verdict(day: Day, taken: list[tuple[float, float]]) -> None:
    """What the store took before, during and after the storm."""
    begin = day.storm.start // day.minute
    moments = (
        ("before the storm", max(taken[begin - 60 : begin])),
        ("at its peak", max(taken[begin:])),
        ("in the last hour", max(taken[-60:])),
    )
    told = ", ".join(f"{moment} {real:.1f} ({accounted:.1f} accounted for)" for moment, (real, accounted) in moments)
    print(f"the store's memory, MB: {told}")


if __name__ == "__main__":
    main()
