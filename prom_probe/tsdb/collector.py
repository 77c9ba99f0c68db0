"""A collector's stream as the writer keeps it: from announcements and rows to runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from prom_probe.model.family import Column
from prom_probe.model.sample import STALE_BYTES
from prom_probe.model.series import Newest
from prom_probe.tsdb.index import Series
from prom_probe.tsdb.outcome import LayoutError, Outcome
from prom_probe.tsdb.retention import present_columns
from prom_probe.tsdb.run import Mapping, Run
from prom_probe.tsdb.stream import Stream

# Columns -> their series, None for a column that there is no room for.
Admit: TypeAlias = Callable[[Sequence[Column]], Sequence[Series | None]]

MAX_TIME = 1 << 53  # ms; a timestamp beyond is no timestamp

# Bytes of a column: its struct, its places in lists, its entry in a dict with the int.
_COLUMN_COST = 56 + 16 + 45 + 32


class CollectorStream(Stream[Run]):
    """One collector: its columns now, its newest row, and its rows as pieces."""

    shared = True

    def __init__(self, collector: str) -> None:
        super().__init__()
        self.collector = collector
        self.mapping: Mapping | None = None
        self.readmit_due = False
        self._newest: tuple[Mapping, int, bytes] | None = None

    def announce(self, layout: int, start: int, columns: Sequence[Column], admit: Admit) -> None:
        """Take columns [start, start + len(columns)) of `layout`; `admit` gives their series, None where no room is.

        Columns that are known already change nothing; the first that differs from what is known begins a new epoch, of
        which the columns before it stay part. Raises LayoutError where columns before `start` are unknown.
        """
        mapping = self.mapping
        known = mapping.columns if mapping is not None and mapping.layout == layout else []
        if start < 0 or start > len(known):
            raise LayoutError(
                f"{self.collector}: layout {layout} is announced from column {start} on, but {len(known)} are known"
            )
        same = 0
        for old, new in zip(known[start:], columns, strict=False):
            if old != new:
                break
            same += 1
        fresh = columns[same:]
        for place, column in enumerate(fresh, start + same):
            _check(self.collector, place, column)
        if mapping is None or mapping.layout != layout or (fresh and start + same < len(known)):
            self.close()
            mapping = Mapping(layout)
            fresh = [*known[: start + same], *fresh]
        for column, series in zip(fresh, admit(fresh), strict=True):
            mapping.add(column, series)
        self.mapping = mapping

    def readmit(self, admit: Admit) -> None:
        """Ask again for room for the columns that have values and no series in the index."""
        self.readmit_due = False
        mapping = self.mapping
        if mapping is None or self._newest is None or self._newest[0] is not mapping:
            return
        lost = [
            place
            for place in present_columns(self._newest[2])
            if (series := mapping.series[place]) is None or not series.indexed
        ]
        found = dict(zip(lost, admit([mapping.columns[place] for place in lost]), strict=True))
        if any(found.values()):
            self.close()
            self.mapping = Mapping(mapping.layout)
            for place, column in enumerate(mapping.columns):
                self.mapping.add(column, found.get(place) or mapping.series[place])

    def append(self, layout: int, t_ms: int, payload: bytes, lived_ms: int) -> tuple[Outcome, int]:
        """Append a row; gives the outcome and the number of samples that it is about. Costs the same for any width."""
        mapping = self.mapping
        samples = len(payload) // 8 - payload.count(STALE_BYTES)
        if mapping is None or mapping.layout != layout:
            return Outcome.UNKNOWN_LAYOUT, samples
        if len(payload) % 8 or len(payload) > 8 * len(mapping.series) or not -MAX_TIME < t_ms < MAX_TIME:
            return Outcome.MALFORMED, samples
        newest = self._newest
        if newest is not None and t_ms <= newest[1]:
            if t_ms == newest[1] or any(isinstance(piece, Run) and piece.holds(t_ms, payload) for piece in self.pieces):
                return Outcome.DUPLICATE, samples
            self.close()
        run = self._open
        if run is None:
            run = Run(mapping, lived_ms)
            run.append(t_ms, payload, samples, lived_ms)
            self.begin(run)
        else:
            run.append(t_ms, payload, samples, lived_ms)
        self._newest = (mapping, t_ms, payload)
        if run.full:
            self.close()
            self.readmit_due = True
        return Outcome.APPENDED, samples

    def mark_stale(self, t_ms: int, lived_ms: int) -> None:
        """End all series with an empty row."""
        newest = self._newest
        if newest is not None and newest[2] and self.mapping is not None:
            self.append(self.mapping.layout, t_ms + 1 if t_ms == newest[1] else t_ms, b"", lived_ms)

    @property
    def refused(self) -> int:
        """How many columns have no series."""
        return self.mapping.refused if self.mapping is not None else 0

    def current_refs(self) -> Iterable[int]:
        """The refs of the series that have a column."""
        return self.mapping.position.keys() if self.mapping is not None else ()

    def alive_refs(self) -> Iterable[int]:
        """The refs of the series that have a value in the newest row, or were announced since."""
        mapping = self.mapping
        if mapping is None:
            return
        reported = 0
        if self._newest is not None and self._newest[0] is mapping:
            reported = len(self._newest[2]) // 8
            for place in present_columns(self._newest[2]):
                if (series := mapping.series[place]) is not None:
                    yield series.ref
        for series in mapping.series[reported:]:
            if series is not None:
                yield series.ref

    def cost(self) -> int:
        columns = len(self.mapping.columns) if self.mapping is not None else 0
        return columns * _COLUMN_COST + super().cost()

    def newest(self) -> Newest | None:
        """The newest row, None before the first."""
        if self._newest is None:
            return None
        mapping, t_ms, payload = self._newest
        return Newest(self.collector, mapping.layout, mapping.columns, t_ms, payload)


def _check(collector: str, place: int, column: Column) -> None:
    if not proper(column.labels):
        raise LayoutError(f"{collector}: column {place}: labels unsorted, repeated, empty or not text: {column.labels}")


def proper(labels: object) -> bool:
    """Whether `labels` are Labels: pairs of text, sorted by name, each name once, no empty value."""
    if not isinstance(labels, tuple) or not labels:
        return False
    before = ""
    for pair in labels:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(text, str) and text for text in pair)):
            return False
        if pair[0] <= before:
            return False
        before = pair[0]
    return True
