"""Rows of a tree whose processes come and go, and their way into a store."""

from __future__ import annotations

import random
from collections import deque

from prom_probe.collectors.process.bucket import Bucket
from prom_probe.collectors.process.process_series import NEW_AT_ONCE, NEW_PER_S
from prom_probe.model.family import Family, column
from prom_probe.model.layout import Group, Layout
from prom_probe.ring.codec import Announce, decode, encode_announcements
from prom_probe.tsdb.store import Store

START_MS = 1_700_000_000_000


LONG_LIVED = 50


LOCAL_AFTER = 3  # the collection in which a process gets series for which the bucket had no token


_TREE = [Family(f"proctree_{i}_total", "counter", "A counter of the tree.") for i in range(40)]


_PROCESS = [Family(f"proctree_process_{i}", "gauge", "Something of a process.") for i in range(12)]


class Life:
    """The processes of a tree and the row that a collector would fill."""

    def __init__(self, seed: int = 1) -> None:
        self.layout = Layout()
        self._source = random.Random(seed)
        self._tree = self.layout.add([column(family, tree="main") for family in _TREE])
        self._long = [self._process(100 + i, f"worker{i % 5}") for i in range(LONG_LIVED)]
        self._bucket = Bucket(NEW_AT_ONCE, NEW_PER_S)
        self._waiting: deque[tuple[int, int, int]] = deque()  # (beat at which it gets series, at which it ends, pid)
        self._brief: list[tuple[int, Group]] = []
        self._pid = 1000
        self.largest = 0  # the PID of the largest process that began in the newest beat; 0 for none

    def beat(self, beat: int, born: int) -> None:
        """Fill the row; `born` processes begin, and live for one to eight beats."""
        self.layout.maybe_compact()
        source, row = self._source, self.layout.row
        new = []
        for _ in range(born):
            self._pid = self._pid % 4_000_000 + 1
            new.append((source.random(), beat + source.randint(1, 8), self._pid))
        new.sort(reverse=True)
        tokens = min(self._bucket.refill(beat), len(new))
        self._bucket.take(tokens)
        for _, end, pid in new[:tokens]:
            self._brief.append((end, self._process(pid, "sh")))
        self.largest = new[0][2] if new else 0
        self._waiting.extend((beat + LOCAL_AFTER - 1, end, pid) for _, end, pid in new[tokens:])
        while self._waiting and self._waiting[0][0] <= beat:
            _, end, pid = self._waiting.popleft()
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
