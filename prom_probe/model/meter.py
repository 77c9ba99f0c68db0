"""Our own metrics: counters, gauges and histograms, kept directly in the row of a layout."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.layout import Layout
from prom_probe.model.sample import STALE


class Cell:
    """One series of a Meter: a counter or a gauge."""

    __slots__ = ("_index", "_layout")

    def __init__(self, layout: Layout, index: int) -> None:
        self._layout = layout
        self._index = index

    def add(self, amount: float = 1.0) -> None:
        self._layout.row[self._index] += amount

    def set(self, value: float) -> None:
        self._layout.row[self._index] = value

    def end(self) -> None:
        """End the series until the next `set`."""
        self._layout.row[self._index] = STALE


class RareCell:
    """A counter whose series begins with its first count, unless /metrics shows everything: most stay at 0 for ever."""

    __slots__ = ("_cell", "_make")

    def __init__(self, make: Callable[[], Cell], *, at_once: bool) -> None:
        self._make = make
        self._cell = make() if at_once else None

    def add(self, amount: float = 1.0) -> None:
        if self._cell is None:
            self._cell = self._make()
        self._cell.add(amount)

    def set(self, value: float) -> None:
        if self._cell is None and value:
            self._cell = self._make()
        if self._cell is not None:
            self._cell.set(value)

    def end(self) -> None:
        """End the series until the next `set`."""
        if self._cell is not None:
            self._cell.end()


class Histogram:
    """One classic histogram of a Meter: cumulative `_bucket{le=}` counts, `_sum` and `_count`."""

    __slots__ = ("_bounds", "_layout", "_start")

    def __init__(self, layout: Layout, start: int, bounds: Sequence[float]) -> None:
        self._layout = layout
        self._start = start
        self._bounds = tuple(bounds)

    def observe(self, value: float) -> None:
        row, start, n = self._layout.row, self._start, len(self._bounds)
        for i in range(start + bisect_left(self._bounds, value), start + n + 1):  # the last bucket is +Inf
            row[i] += 1.0
        row[start + n + 1] += value
        row[start + n + 2] += 1.0


class Meter:
    """Our own metrics, by family and labels. Not thread-safe: all cells belong to the thread that owns the meter."""

    def __init__(self, *, shows_detail: bool = True) -> None:
        """`shows_detail`: whether /metrics shows more than the essential ones."""
        self.shows_detail = shows_detail
        self.layout = Layout()
        self._cells: dict[tuple[str, tuple[tuple[str, str], ...]], Cell] = {}
        self._histograms: dict[tuple[str, tuple[tuple[str, str], ...]], Histogram] = {}

    def cell(self, family: Family, **labels: str) -> Cell:
        """The counter or gauge with these labels; it starts at 0."""
        key = (family.name, tuple(labels.items()))
        cell = self._cells.get(key)
        if cell is None:
            group = self.layout.add([self._column(family, make_labels(family.name, labels))])
            self.layout.row[group.start] = 0.0
            cell = self._cells[key] = Cell(self.layout, group.start)
        return cell

    def rare(self, family: Family, **labels: str) -> RareCell:
        """The counter with these labels, whose series begins with its first count."""
        return RareCell(partial(self.cell, family, **labels), at_once=self.shows_detail)

    def histogram(self, family: Family, bounds: Sequence[float], **labels: str) -> Histogram:
        """The histogram with these labels and these upper bounds (ascending, without +Inf)."""
        key = (family.name, tuple(labels.items()))
        histogram = self._histograms.get(key)
        if histogram is None:
            columns = [
                self._column(family, make_labels(f"{family.name}_bucket", {**labels, "le": format_bound(bound)}))
                for bound in (*bounds, float("inf"))
            ]
            columns += [self._column(family, make_labels(f"{family.name}{end}", labels)) for end in ("_sum", "_count")]
            group = self.layout.add(columns)
            self.layout.row[group.start : group.start + len(columns)] = type(self.layout.row)("d", [0.0] * len(columns))
            histogram = self._histograms[key] = Histogram(self.layout, group.start, bounds)
        return histogram

    def _column(self, family: Family, labels: Labels) -> Column:
        return Column(family, labels, self.shows_detail or not family.detail)


def format_bound(bound: float) -> str:
    """A bucket's bound as the value of the `le` label: "0.5", "1", "+Inf"."""
    if bound == float("inf"):
        return "+Inf"
    return repr(int(bound)) if bound == int(bound) and abs(bound) < 1e15 else repr(bound)
