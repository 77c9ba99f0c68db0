"""A collector's layout: its columns in order, and the row of values that each collection fills."""

from array import array
from collections.abc import Iterable

from prom_probe.model.family import Column
from prom_probe.model.sample import STALE

# Compact when at least this many columns are dead, and at least half of all.
_COMPACT_DEAD = 256


class Group:
    """Columns that come and go together (one process's, say). `start` moves when the layout is compacted."""

    __slots__ = ("columns", "start")

    def __init__(self, columns: tuple[Column, ...], start: int) -> None:
        self.columns = columns
        self.start = start


class Layout:
    """The columns of one collector, numbered; owned by the collector that fills `row`, not thread-safe.

    `number` changes only when the columns are renumbered (compaction); between two numbers columns are only appended.
    `row` has one float64 per column; `STALE` stands for absent. A new column starts as `STALE`.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.columns: list[Column] = []
        self.row = array("d")
        self._groups: list[Group] = []
        self._dead = 0

    def add(self, columns: Iterable[Column]) -> Group:
        """Append `columns`; the group's `start` is the index of the first one in `row`."""
        group = Group(tuple(columns), len(self.columns))
        self.columns.extend(group.columns)
        self.row.extend([STALE] * len(group.columns))
        self._groups.append(group)
        return group

    def retire(self, group: Group) -> None:
        """End the group's series: its values are the staleness marker from now on."""
        for i in range(group.start, group.start + len(group.columns)):
            self.row[i] = STALE
        self._groups.remove(group)
        self._dead += len(group.columns)

    def maybe_compact(self) -> bool:
        """Drop the dead columns if that is worth a new announcement; call it at the start of a collection.

        A series that a new layout lacks ends there, so nothing is lost if the row with its marker was dropped.
        """
        if self._dead < _COMPACT_DEAD or self._dead * 2 < len(self.columns):
            return False
        columns: list[Column] = []
        row = array("d")
        for group in self._groups:
            row.extend(self.row[group.start : group.start + len(group.columns)])
            group.start = len(columns)
            columns.extend(group.columns)
        self.number += 1
        self.columns, self.row, self._dead = columns, row, 0
        return True
