"""Makes the records of processes from what their collector announces and sends."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prom_probe.history.process_record import ProcessRecord
from prom_probe.model.family import Column

# The columns that are read, by the name of their family.
_CPU = "proctree_process_cpu_seconds_total"
_RESIDENT = "proctree_process_resident_memory_bytes"
_PEAK = "proctree_process_memory_peak_bytes"
_START = "proctree_process_start_time_seconds"
_INFO = "proctree_process_info"
_PLACES = {_RESIDENT: "resident", _PEAK: "peak", _START: "start"}
_READ = {_CPU, _INFO, *_PLACES}

# For so long after its end a process may be reported as reaped, or turn out to live.
_SETTLE_S = 5.0

# What is worth a new copy on the disk: a peak that is higher by this part, so much more CPU time, and anything else
# that has changed after so many seconds.
_RISEN = 1 / 128
_BUSY = 1 / 16
_BUSY_S = 0.5
_COPY_S = 30.0

# The collector computes a start time anew when its worker is restarted; the clock may have been adjusted by so much.
_ADJUSTED_S = 1.0


# Rows are made longer by one column that has no value: what is not announced is read there.
_NO_VALUE = float("nan")
_NOWHERE = -1


class Seat:
    """The labels of a process's columns, and where its values stand in the collector's rows."""

    __slots__ = ("comm", "peak", "pid", "record", "resident", "start", "system", "tree", "user")

    def __init__(self, tree: str, pid: int, comm: str) -> None:
        self.tree = tree
        self.pid = pid
        self.comm = comm
        self.user = self.system = self.resident = self.peak = self.start = _NOWHERE
        self.record: ProcessRecord | None = None  # once a row has its values

    def is_of(self, tree: str, pid: int, comm: str) -> bool:
        return (self.tree, self.pid, self.comm) == (tree, pid, comm)

    def take(self, name: str, mode: str, place: int) -> None:
        """A column of its: the family's name, and whose CPU time it is."""
        if name == _CPU:
            setattr(self, mode, place)
        else:
            setattr(self, _PLACES[name], place)


class _Info(NamedTuple):
    tree: str
    pid: int
    ppid: int
    cmdline: str | None


class _Copy(NamedTuple):
    """What the disk has of a process that lives, since `t`."""

    peak: int
    cpu_seconds: float
    t: float

    def is_old(self, record: ProcessRecord, t: float) -> bool:
        peak, cpu_seconds = record.memory_peak_bytes, record.cpu_seconds
        if peak > self.peak * (1 + _RISEN) or cpu_seconds > self.cpu_seconds * (1 + _BUSY) + _BUSY_S:
            return True
        return t - self.t >= _COPY_S and (peak, cpu_seconds) != self[:2]


class ProcessTracker:
    """`lives` are the records of the processes that live, by tree and PID.

    Keeps nothing of a process that ended some seconds ago: `take_ended` hands it over.
    """

    def __init__(self) -> None:
        self.lives: dict[tuple[str, int], ProcessRecord] = {}
        self._seats: list[Seat] = []
        self._fresh: list[Seat] = []  # without a record until a row has their values
        self._newest: Seat | None = None  # the rest of its columns may come with the next announcement
        self._infos: list[_Info] = []
        self._known = 0  # columns
        self._unseated = False  # whether some that live have no seat since the columns were announced anew
        self._ending: deque[ProcessRecord] = deque()
        self._changed: dict[int, ProcessRecord] = {}  # by identity of the object: what the disk does not have
        self._copies: dict[tuple[str, int], _Copy] = {}  # of those that live: what the disk has

    def restore(self, record: ProcessRecord) -> None:
        """The process lived when the aggregator before this one ended; the next row shows whether it still does."""
        self.lives[record.tree, record.pid] = record
        self._unseated = True

    def announce(self, start: int, columns: Sequence[Column]) -> None:
        """Columns [start, start + len(columns)) of the collector's layout; 0 begins a layout."""
        if start == 0:
            self._known = 0
            self._seats, self._fresh, self._infos, self._newest = [], [], [], None
            self._unseated = bool(self.lives)
        seat = self._newest
        for number, column in enumerate(columns[self._known - start :], self._known):
            name = column.family.name
            if name in _READ:
                labels = dict(column.labels)
                tree, pid, comm = labels["tree"], int(labels["pid"]), labels.get("comm", "")
                if name == _INFO:
                    self._infos.append(_Info(tree, pid, int(labels["ppid"]), labels.get("cmdline")))
                    continue
                again = seat is not None and name == _CPU and seat.start != _NOWHERE  # a PID that is used again
                if seat is None or again or not seat.is_of(tree, pid, comm):
                    seat = self._newest = Seat(tree, pid, comm)
                    self._fresh.append(seat)
                seat.take(name, labels.get("mode", ""), number)
        self._known = max(self._known, start + len(columns))

    def row(self, t: float, payload: bytes) -> None:
        """The collector's values at `t`, as packed float64, NaN where there is none."""
        values = array("d", payload)
        values.extend([_NO_VALUE] * (self._known + 1 - len(values)))
        taken = self._seat_fresh(t, values, len(payload) // 8) if self._fresh else set()
        if self._infos:
            self._take_infos()
        gone = []
        for seat in self._seats:
            record, start = seat.record, values[seat.start]
            if record is None:
                continue
            if start == start:
                _update(record, seat, t, start, values)
            elif id(record) not in taken:
                gone.append(record)
        if self._unseated:
            self._unseated = False
            seated = {id(seat.record) for seat in self._seats}
            gone += [record for record in self.lives.values() if id(record) not in seated]
        for record in gone:
            self._end(record, t)
        if gone or taken:
            for seat in self._seats:
                if values[seat.start] != values[seat.start]:
                    seat.record = None
            self._seats = [seat for seat in self._seats if seat.record is not None]

    def reaped(self, pid: int, t: float, exit_status: int | None, signal: int | None) -> None:
        """The process has ended, and this is how."""
        living = [record for record in self.lives.values() if record.pid == pid and record.start <= t]
        ending = [
            record for record in self._ending if record.pid == pid and record.exit_status is record.signal is None
        ]
        for record in living or ending[-1:]:
            record.end, record.exit_status, record.signal = t, exit_status, signal
            self._changed[id(record)] = record

    def end_all(self, t: float) -> None:
        """The run is over."""
        for record in list(self.lives.values()):
            self._end(record, t)

    def ending(self) -> Sequence[ProcessRecord]:
        """Those that ended some seconds ago and are not yet handed over."""
        return tuple(self._ending)

    def take_ended(self, t: float) -> Iterable[ProcessRecord]:
        """Those that ended long enough before `t`; they are forgotten here."""
        while self._ending and (self._ending[0].end or 0.0) < t - _SETTLE_S:
            yield self._ending.popleft()

    def take_changed(self, t: float) -> Iterable[ProcessRecord]:
        """Those of which the disk has to have a new copy."""
        for key, record in self.lives.items():
            copy = self._copies.get(key)
            if copy is None or copy.is_old(record, t):
                self._changed[id(record)] = record
        changed, self._changed = self._changed, {}
        for record in changed.values():
            if self.lives.get((record.tree, record.pid)) is record:
                self._copies[record.tree, record.pid] = _Copy(record.memory_peak_bytes, record.cpu_seconds, t)
        return changed.values()

    def forget_changed(self) -> None:
        """There is no disk."""
        self._changed.clear()

    def _seat_fresh(self, t: float, values: array[float], columns: int) -> set[int]:
        """Find or make the records of the seats that have values for the first time; returns the records' ids."""
        taken = set()
        for seat in self._fresh:
            start = values[seat.start]
            if start == start:
                seat.record = self._record(seat, start, t)
                self._seats.append(seat)
                taken.add(id(seat.record))
        self._fresh = [seat for seat in self._fresh if not 0 <= seat.start < columns]
        return taken

    def _record(self, seat: Seat, start: float, t: float) -> ProcessRecord:
        key = seat.tree, seat.pid
        record = self.lives.get(key)
        if record is not None and not _is_same(record, start):
            self._end(record, t)
            record = None
        if record is None:
            record = next((one for one in self._ending if (one.tree, one.pid) == key and _is_same(one, start)), None)
            if record is not None:  # a part of the announcement was late
                self._ending.remove(record)
                record.end = None
        if record is None:
            record = ProcessRecord(seat.tree, seat.pid, 0, [seat.comm], None, start, t, t)
        else:
            record.rename(seat.comm)
        self.lives[key] = record
        self._changed[id(record)] = record
        return record

    def _end(self, record: ProcessRecord, t: float) -> None:
        key = record.tree, record.pid
        if self.lives.get(key) is not record:
            return
        del self.lives[key]
        self._copies.pop(key, None)
        if record.end is None:
            record.end = t
        self._ending.append(record)
        self._changed[id(record)] = record

    def _take_infos(self) -> None:
        for info in self._infos:
            record = self.lives.get((info.tree, info.pid))
            if record is not None:
                record.ppid = record.ppid or info.ppid
                if info.cmdline:
                    record.change_cmdline(info.cmdline)
        self._infos = []


def _update(record: ProcessRecord, seat: Seat, t: float, start: float, values: array[float]) -> None:
    record.last = t
    if start != record.start:  # the wall clock was set
        record.start = start
    cpu = values[seat.user] + values[seat.system]
    if cpu > record.cpu_seconds:
        record.cpu_seconds = round(cpu, 6)
    for most in (values[seat.peak], values[seat.resident]):
        if most > record.memory_peak_bytes:
            record.note_peak(int(most), t)


def _is_same(record: ProcessRecord, start: float) -> bool:
    """Whether a process with the same PID that started at `start` is this one: it started before its last sample."""
    return start == record.start or (start <= record.last and abs(start - record.start) < _ADJUSTED_S)
