"""Column maps: which column of a row belongs to which series."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from prom_probe.model.family import Column, Family
from prom_probe.tsdb.index import IndexedSeries

_COLUMN_COST = 56 + 16 + 45 + 32  # bytes: its struct, its slots in lists, its dict entry with the int
_FROZEN_COST = 8


class ColumnMap:
    """The columns of a collector's current layout, and their series. Append-only; only the writer changes it.

    A series can have several columns: one that ended and, later in the same layout, one that started anew. `refused`
    counts the columns that the series cap refused; they have no series.
    """

    __slots__ = ("_first", "_more", "columns", "families", "layout", "refused", "series")

    def __init__(self, layout: int) -> None:
        self.layout = layout
        self.columns: list[Column] = []
        self.families: dict[Family, Family] = {}
        self.series: list[IndexedSeries | None] = []
        self.refused = 0
        self._first: dict[int, int] = {}  # ref -> its first column
        self._more: dict[int, list[int]] = {}  # ref -> its further columns

    def add(self, column: Column, series: IndexedSeries | None) -> None:
        place = len(self.series)
        self.series.append(series)
        # The frame's own copies of labels and families are not kept alive.
        family = self.families.setdefault(column.family, column.family)
        labels = series.labels if series is not None else column.labels
        self.columns.append(Column(family, labels, column.exposed, column.shown, column.lasting))
        if series is None:
            self.refused += 1
        elif series.ref in self._first:
            self._more.setdefault(series.ref, []).append(place)
        else:
            self._first[series.ref] = place

    def places(self, ref: int) -> Sequence[int]:
        """The columns of a series, in order; the last one that has a value counts."""
        first = self._first.get(ref)
        if first is None:
            return ()
        more = self._more.get(ref)
        return (first,) if more is None else (first, *more)

    def refs(self) -> Iterable[int]:
        """The series that have a column."""
        return self._first.keys()

    def by_column(self) -> Sequence[int]:
        """The series of each column, 0 for none."""
        return [0 if series is None else series.ref for series in self.series]

    @property
    def cost(self) -> int:
        """Bytes that it takes."""
        return _COLUMN_COST * len(self.columns)


class FrozenColumnMap:
    """A column map that the collector no longer uses: what readers and sealing need of it, in little memory."""

    __slots__ = ("_by_column", "_places")

    def __init__(self, mapping: ColumnMap) -> None:
        self._by_column = array("q", mapping.by_column())
        self._places: dict[int, tuple[int, ...]] | None = None  # made by the first reader, freed with the head

    def places(self, ref: int) -> Sequence[int]:
        places = self._places
        if places is None:
            places = {}
            for place, one in enumerate(self._by_column):
                places[one] = (*places.get(one, ()), place) if one else ()
            self._places = places
        return places.get(ref, ())

    def refs(self) -> Iterable[int]:
        return (ref for ref in self._by_column if ref)

    def by_column(self) -> Sequence[int]:
        return self._by_column

    @property
    def cost(self) -> int:
        return _FROZEN_COST * len(self._by_column) + 300
