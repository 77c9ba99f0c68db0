"""Rows of a tree whose processes come and go, and their way into a store."""

from __future__ import annotations

import random

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.columns import TreeColumns
from prom_probe.collectors.process.process import Process
from prom_probe.collectors.process.process_series import ProcessSeries
from prom_probe.collectors.process.tree import Tree
from prom_probe.model.layout import Layout
from prom_probe.ring.codec import Announce, decode, encode_announcements
from prom_probe.sources.descriptors import Descriptors
from prom_probe.sources.process_files import ProcessFiles
from prom_probe.tsdb.store import Store

START_MS = 1_700_000_000_000


LONG_LIVED = 50


# The columns of a process: those of its values and its proctree_process_info.
A_PROCESS = 17


class Life:
    """The processes of a tree and the row that the collector fills, without a /proc that they would be read from."""

    def __init__(self, seed: int = 1) -> None:
        self.layout = Layout()
        self._source = random.Random(seed)
        context = Context()
        columns = TreeColumns(context)
        self._own = self.layout.add(columns.of_tree("main"))
        self._series = ProcessSeries(context, self.layout, columns, columns.process)
        self._tree = Tree()
        self._long = [self._begin(100 + i, f"worker{i % 5}".encode()) for i in range(LONG_LIVED)]
        self._brief: list[tuple[int, Process]] = []  # (the beat at which it ends, the process)
        self._pid = 1000
        self.largest = 0  # the PID of the largest process that began in the newest beat; 0 for none

    def beat(self, beat: int, born: int) -> None:
        """Fill the row; `born` processes begin, and live for one to eight beats."""
        self.layout.maybe_compact()
        source, row = self._source, self.layout.row
        self._series.leave([process for end, process in self._brief if end <= beat])
        self._brief = [one for one in self._brief if one[0] > beat]
        new = []
        for _ in range(born):
            self._pid = self._pid % 4_000_000 + 1
            new.append(self._begin(self._pid, b"sh"))
            self._brief.append((beat + source.randint(1, 8), new[-1]))
        self.largest = max(new, key=lambda process: process.resident).pid if new else 0
        for i in range(len(self._own.columns)):
            row[self._own.start + i] = beat + i
        for process in self._long:
            process.user += source.randrange(30)
            process.resident = beat // 60 + process.pid
        for _, process in self._brief:
            process.user += source.randrange(100)
        for process in self._series.waiting:
            process.seen += 1
        self._series.write([*self._long, *(process for _, process in self._brief)], float(beat))

    def _begin(self, pid: int, comm: bytes) -> Process:
        files = ProcessFiles("", pid, Descriptors(0), fd_size=False)
        process = Process(pid, pid, float(pid), "main", self._tree, files)
        process.comm, process.state = comm, b"S"
        process.resident = self._source.randrange(10_000)
        process.peak, process.max_fds = 4 * process.resident + 4, 1024
        process.threads, process.virtual, process.ppid = pid % 7, 10_000 + pid % 97, 1
        self._series.join(process)
        return process


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
