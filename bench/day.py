"""A day's life of the store in fast motion: 50 long-lived processes, others that come and go, an hour of fork storm.

python -m bench.day [--beats 86400] [--storm 50]

With fewer beats, the retention and the storm are shorter in proportion. A child lives the same life without a store;
what this process has more than that one is the store's.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import time
from collections import deque

from bench.report import Row, print_table
from prom_probe.model.family import Family, column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.matcher import Matcher
from prom_probe.ring.codec import Announce, decode, encode_announcements
from prom_probe.tsdb.store import Store, StoreOptions
from prom_probe.web.heap import Trimmer

START_MS = 1_700_000_000_000
LONG_LIVED = 50
LOCAL_AFTER = 3  # collections that must see a process before it gets series, as in the process collector

_TREE = [Family(f"proctree_{i}_total", "counter", "A counter of the tree.") for i in range(40)]
_PROCESS = [Family(f"proctree_process_{i}", "gauge", "Something of a process.") for i in range(12)]


class Life:
    """The processes of a tree and the row that a collector would fill."""

    def __init__(self, seed: int = 1) -> None:
        self.layout = Layout()
        self._source = random.Random(seed)
        self._tree = self.layout.add([column(family, tree="main") for family in _TREE])
        self._long = [self._process(100 + i, f"worker{i % 5}") for i in range(LONG_LIVED)]
        self._unborn: deque[tuple[int, int, int]] = deque()  # (beat at which it gets series, at which it ends, pid)
        self._brief: list[tuple[int, Group]] = []
        self._pid = 1000

    def beat(self, beat: int, born: int) -> None:
        """Fill the row; `born` processes begin, and live for one to eight beats."""
        self.layout.maybe_compact()
        source, row = self._source, self.layout.row
        for _ in range(born):
            self._pid = self._pid % 4_000_000 + 1
            self._unborn.append((beat + LOCAL_AFTER - 1, beat + source.randint(1, 8), self._pid))
        while self._unborn and self._unborn[0][0] <= beat:
            _, end, pid = self._unborn.popleft()
            if end > beat:
                self._brief.append((end, self._process(pid, "sh")))
        for end, group in self._brief:
            if end <= beat:
                self.layout.retire(group)
        self._brief = [one for one in self._brief if one[0] > beat]
        row = self.layout.row
        for i in range(len(_TREE)):
            row[self._tree.start + i] = beat + i
        for group in self._long:
            row[group.start] += source.randrange(30) / 100
            row[group.start + 1] = 4096.0 * (beat // 60 + group.start)
        for _, group in self._brief:
            row[group.start] = source.randrange(100) / 100

    def _process(self, pid: int, comm: str) -> Group:
        group = self.layout.add(column(f, exposed=False, tree="main", pid=str(pid), comm=comm) for f in _PROCESS)
        for i in range(len(_PROCESS)):
            self.layout.row[group.start + i] = float(i * pid % 97)
        return group


class Feed:
    """Brings a life's rows into a store as a probe and the aggregator do."""

    def __init__(self, store: Store, life: Life) -> None:
        self._store = store
        self._life = life
        self._announced = (-1, 0)

    def send(self, t_ms: int, slices: int = 20) -> None:
        """Announce what is new, append the row, and do at most so many slices of the work behind the scenes."""
        layout = self._life.layout
        number, count = self._announced
        if number != layout.number:
            count = 0
        for known, frame in encode_announcements("process", layout.number, layout.columns, count, 1 << 20):
            news = decode(frame)
            assert isinstance(news, Announce)
            self._store.announce("process", news.layout, news.start, news.full_columns())
            self._announced = (layout.number, known)
        self._store.append_row("process", layout.number, t_ms, layout.row.tobytes())
        for _ in range(slices):
            if not self._store.maintain(t_ms):
                break


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
    gc.set_threshold(50_000, 20, 50)
    alone = life_alone(day)
    store, life = Store(StoreOptions(retention_ms=day.retention * 1000)), Life()
    feed, trimmer = Feed(store, life), Trimmer(lambda: store.stats().bytes)
    rows: list[Row] = []
    taken: list[tuple[float, float]] = []  # each minute: what the store takes, and what it accounts for
    begun = time.process_time()
    for beat in range(day.beats):
        life.beat(beat, day.born(beat))
        feed.send(START_MS + beat * 1000)
        if beat % day.minute == 0:
            trimmer.look()
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
