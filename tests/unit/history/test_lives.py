"""Any history of processes, through any layout: each life is one record, and says what was true."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from prom_probe.history.process_record import ProcessRecord
from prom_probe.history.tracker import ProcessTracker
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from tests.support.process_rows import columns_of

_STEPS = st.lists(
    st.tuples(st.sampled_from(["spawn", "end", "reuse", "exec", "compact", "restart", "new"]), st.integers(0, 3)),
    max_size=30,
)


@dataclass
class Life:
    """A process as it was."""

    pid: int
    start: float
    names: list[str]
    rows: list[float] = field(default_factory=list)  # the times of the rows that have it
    end: float | None = None
    peak: float = 0.0
    cpu: float = 0.0
    group: Group | None = None


class Worker:
    """The process collector, in so far as it announces and sends."""

    def __init__(self) -> None:
        self.tracker = ProcessTracker()
        self.layout = Layout()
        self.sent = -1  # columns announced; -1: the layout is to be announced from its beginning
        self.t = 1000.0
        self.living: dict[int, Life] = {}
        self.lives: list[Life] = []
        self.handed_over: list[ProcessRecord] = []

    def spawn(self, pid: int) -> None:
        if pid not in self.living:
            life = Life(pid, self.t - 0.5, [f"name{len(self.lives) % 2}"])
            self.living[pid] = life
            self.lives.append(life)
            life.group = self.layout.add(columns_of(pid, life.names[-1]))

    def end(self, pid: int) -> None:
        life = self.living.pop(pid, None)
        if life is not None and life.group is not None:
            self.layout.retire(life.group)
            life.end = self.t

    def reuse(self, pid: int) -> None:
        """Between two rows."""
        if pid in self.living:
            self.end(pid)
            self.spawn(pid)

    def exec(self, pid: int) -> None:
        life = self.living.get(pid)
        if life is not None and life.group is not None:
            self.layout.retire(life.group)
            life.names.append(f"{life.names[-1]}+")
            life.group = self.layout.add(columns_of(pid, life.names[-1]))

    def compact(self, pid: int) -> None:
        """The living have other columns, under another number."""
        self.layout = Layout(self.layout.number + 1)
        for life in self.living.values():
            life.group = self.layout.add(columns_of(life.pid, life.names[-1]))
        self.sent = 0

    def restart(self, pid: int) -> None:
        """Another worker takes over after some seconds, and computes start times anew."""
        self.layout = Layout()
        self.t += 7
        for life in self.living.values():
            life.group = self.layout.add(columns_of(life.pid, life.names[-1]))
            life.start = round(life.start + 0.01, 2)
        self.sent = 0

    def new(self, pid: int) -> None:
        """Another aggregator, without what the one before had, asks for the columns."""
        self.sent = 0

    def row(self) -> None:
        self.t += 1
        for life in self.living.values():
            assert life.group is not None
            life.cpu = round(life.cpu + 0.25, 2)
            memory = float(1000 + (life.pid * 7 + len(life.rows) * 13) % 50)
            life.peak = max(life.peak, memory)
            life.rows.append(self.t)
            at = life.group.start
            values = (life.cpu, 0.0, memory, life.start, STALE, 1.0)
            for place, value in enumerate(values):
                self.layout.row[at + place] = value
        start = max(0, self.sent)
        self.tracker.announce(start, self.layout.columns[start:])
        self.sent = len(self.layout.columns)
        self.tracker.row(self.t, self.layout.row.tobytes())
        self.handed_over += self.tracker.take_ended(self.t)


@given(_STEPS)
def test_each_life_is_one_record(steps: list[tuple[str, int]]) -> None:
    """With its names, its first and last row, its end, its peak and its CPU time."""
    worker = Worker()
    worker.row()
    for step, pid in steps:
        getattr(worker, step)(pid)
        worker.row()
    records = [*worker.handed_over, *worker.tracker.ending(), *worker.tracker.lives.values()]
    found = sorted(
        (one.pid, one.start, one.comm, one.first, one.last, one.end, one.memory_peak_bytes, one.cpu_seconds)
        for one in records
    )
    lived = [life for life in worker.lives if life.rows]
    assert [one[:5] + one[6:] for one in found] == sorted(
        (life.pid, life.start, life.names, life.rows[0], life.rows[-1], life.peak, life.cpu) for life in lived
    )
    ends = {(one.pid, one.first): one.end for one in records}
    for life in lived:
        end = ends[life.pid, life.rows[0]]
        assert (end is None) == (life.end is None)
        assert end is None or life.rows[-1] < end <= life.rows[-1] + 8
