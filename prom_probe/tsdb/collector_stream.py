"""A collector's stream as the writer keeps it: announcements and rows become heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from prom_probe.model.family import Column
from prom_probe.model.sample import STALE_BYTES
from prom_probe.model.series import Newest
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.column_map import ColumnMap
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.outcome import MAX_TIME, AppendOutcome, LayoutError
from prom_probe.tsdb.retention import PAUSE_MS, present_columns
from prom_probe.tsdb.row_head import RowHead
from prom_probe.tsdb.stream import SampleStream

# Columns -> their series; None for a column that the series cap refuses.
Admit: TypeAlias = Callable[[Sequence[Column]], Sequence[IndexedSeries | None]]


class CollectorStream(SampleStream[RowHead]):
    """One collector: its current columns, its newest row, and its rows as pieces."""

    shared = True

    def __init__(self, collector: str) -> None:
        super().__init__()
        self.collector = collector
        self.mapping: ColumnMap | None = None
        self._readmit_ms = 0  # lived time at which to ask for room again
        self._newest: tuple[ColumnMap, int, bytes] | None = None

    def announce(self, layout: int, start: int, columns: Sequence[Column], admit: Admit, lived_ms: int) -> None:
        """Take columns [start, start + len(columns)) of `layout`; `admit` finds their series.

        Columns that are already known change nothing. The first one that differs starts a new column map, which keeps
        the columns before it. Raises LayoutError if columns before `start` are unknown, and if `admit` does.
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
        if mapping is None or mapping.layout != layout or (fresh and start + same < len(known)):
            self._see(lived_ms)
            mapping = ColumnMap(layout)
            fresh = [*known[: start + same], *fresh]
        for column, series in zip(fresh, admit(fresh), strict=True):
            mapping.add(column, series)
        self.mapping = mapping

    def maybe_readmit(self, admit: Admit, lived_ms: int) -> None:
        """Ask for room again, now and then, for columns that have values but no series in the index."""
        mapping = self.mapping
        if lived_ms < self._readmit_ms or self._newest is None or self._newest[0] is not mapping or mapping is None:
            return
        self._readmit_ms = lived_ms + PAUSE_MS
        lost = [
            place
            for place in present_columns(self._newest[2])
            if (series := mapping.series[place]) is None or series.gone
        ]
        if not lost:
            return
        found = dict(zip(lost, admit([mapping.columns[place] for place in lost]), strict=True))
        if any(found.values()):
            self.mapping = ColumnMap(mapping.layout)
            for place, column in enumerate(mapping.columns):
                self.mapping.add(column, found.get(place) or mapping.series[place])

    def append(self, layout: int, t_ms: int, payload: bytes, lived_ms: int) -> tuple[AppendOutcome, int]:
        """Append a row; returns the outcome and the number of samples in the row."""
        mapping = self.mapping
        samples = len(payload) // 8 - payload.count(STALE_BYTES)
        if mapping is None or mapping.layout != layout:
            return AppendOutcome.UNKNOWN_LAYOUT, samples
        if len(payload) % 8 or len(payload) > 8 * len(mapping.series) or not -MAX_TIME < t_ms < MAX_TIME:
            return AppendOutcome.MALFORMED, samples
        newest = self._newest
        if newest is not None and t_ms <= newest[1]:
            if t_ms == newest[1] or any(
                isinstance(piece, RowHead) and piece.holds(t_ms, payload) for piece in self.pieces
            ):
                return AppendOutcome.DUPLICATE, samples
            self.close()
        run = self._open if self._open is not None else RowHead(lived_ms)
        run.append(mapping, t_ms, payload, samples, lived_ms)
        self._newest = (mapping, t_ms, payload)
        if self.journal is not None:
            self.journal.row(self.collector, run, mapping, t_ms, payload, lived_ms)
        if run is not self._open:
            self.begin(run)
        if run.full:
            self.close()
            self._see(lived_ms)
        return AppendOutcome.APPENDED, samples

    def restore(self, pieces: Sequence[RowHead | Block]) -> None:
        """Start with one or more closed pieces restored from disk; the columns have to be announced anew."""
        self.pieces = tuple(pieces)
        self._newest = (ColumnMap(0), pieces[-1].view().maxt, b"")

    def end_restored(self, t_ms: int, lived_ms: int) -> None:
        """End all series at `t_ms`, as their writer has ended; before the columns are announced.

        Not where the clock was set back and has not caught up: the row would hide what was written before that.
        """
        ends = [piece.view().maxt for piece in self.pieces]
        if not ends or ends[-1] < max(ends):
            return
        self.mapping = ColumnMap(0)
        self.append(0, t_ms, b"", lived_ms)
        self.close()
        self.mapping = None

    def mark_stale(self, t_ms: int, lived_ms: int) -> None:
        """End all series with an empty row."""
        newest = self._newest
        if newest is not None and newest[2] and self.mapping is not None:
            self.append(self.mapping.layout, t_ms + 1 if t_ms == newest[1] else t_ms, b"", lived_ms)

    def _see(self, lived_ms: int) -> None:
        """Note that the series in the newest row are alive, before some of them lose their columns."""
        if self._newest is not None:
            mapping, _, payload = self._newest
            for place in present_columns(payload):
                if (series := mapping.series[place]) is not None:
                    series.seen = lived_ms

    @property
    def refused(self) -> int:
        """How many columns the series cap refused."""
        return self.mapping.refused if self.mapping is not None else 0

    def current_refs(self) -> Iterable[int]:
        """The refs of the series that have a column."""
        return self.mapping.refs() if self.mapping is not None else ()

    def alive_refs(self) -> Iterable[int]:
        """The refs of the series that have a value in the newest row, or were announced after it."""
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
        return super().cost() + (self.mapping.cost if self.mapping is not None else 0)

    def newest(self) -> Newest | None:
        """The newest row, None before the first."""
        if self._newest is None:
            return None
        mapping, t_ms, payload = self._newest
        return Newest(self.collector, mapping.layout, mapping.columns, t_ms, payload)


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
