"""Rows in the order in which they are listed: filtered, sorted, as a tree with folded branches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from prom_probe.cli.top.columns import BY_NAME, COLUMNS, sort_value
from prom_probe.cli.top.process_row import ProcessKey, ProcessRow

_SUMS = [column.name for column in COLUMNS if column.sums]
_UP_FIRST = ("name", "pid")  # numbers sort with the largest first


class Order(NamedTuple):
    """How it is wanted. `reverse`: against the column's own direction."""

    by: str = "memory"
    reverse: bool = False
    tree: bool = True
    filter: str = ""
    folded: frozenset[ProcessKey] = frozenset()

    @property
    def is_upward(self) -> bool:
        return (self.by in _UP_FIRST) != self.reverse

    def sorted_by(self, name: str) -> Order:
        """By a column; by the same once more, the other way round."""
        return self._replace(by=name, reverse=self.by == name and not self.reverse)


class ListedRow(NamedTuple):
    """`branch`: the lines of the tree before its name. `folded`: the processes below that it stands for too."""

    row: ProcessRow
    branch: str = ""
    folded: Sequence[ProcessRow] = ()


def arrange(rows: Sequence[ProcessRow], order: Order) -> list[ListedRow]:
    """The rows as they are listed."""
    if not order.tree:
        return [ListedRow(row) for row in _sorted([row for row in rows if _matches(row, order.filter)], order, {})]
    family = _Family(rows)
    wanted = family.with_ancestors(row.key for row in rows if _matches(row, order.filter))
    return list(family.listed(order, wanted))


def _matches(row: ProcessRow, text: str) -> bool:
    wanted = text.lower()
    return wanted in row.name.lower() or wanted in (row.command_line or "").lower() or wanted == str(row.pid)


def _sorted(rows: Iterable[ProcessRow], order: Order, sums: dict[ProcessKey, ProcessRow]) -> list[ProcessRow]:
    """What has no value comes last, either way."""
    known, unknown = [], []
    for row in rows:
        value = sort_value(sums.get(row.key, row) if BY_NAME[order.by].sums else row, order.by)
        if value is None:
            unknown.append(row)
        else:
            known.append((value, row))
    known.sort(key=lambda pair: pair[1].key)
    known.sort(key=lambda pair: pair[0], reverse=not order.is_upward)
    return [*(row for _, row in known), *sorted(unknown, key=lambda row: row.key)]


class _Family:
    """Which process is which one's child. Nothing here recurses: a chain of forks can be deeper than Python's stack."""

    def __init__(self, rows: Sequence[ProcessRow]) -> None:
        by_pid: dict[int, ProcessRow] = {}
        for row in sorted(rows, key=lambda row: row.start):
            by_pid[row.pid] = row
        self._rows = {row.key: row for row in rows}
        self._parents: dict[ProcessKey, ProcessKey] = {}
        for row in rows:
            parent = by_pid.get(row.ppid) if row.ppid is not None else None
            # A parent that began later has the PID of the real one, which is gone.
            if parent and parent.key != row.key and (parent.start, parent.pid) < (row.start, row.pid):
                self._parents[row.key] = parent.key
        self._children: dict[ProcessKey | None, list[ProcessRow]] = {}
        for row in rows:
            self._children.setdefault(self._parents.get(row.key), []).append(row)

    def with_ancestors(self, keys: Iterable[ProcessKey]) -> set[ProcessKey]:
        found: set[ProcessKey] = set()
        for key in keys:
            at: ProcessKey | None = key
            while at is not None and at not in found:
                found.add(at)
                at = self._parents.get(at)
        return found

    def listed(self, order: Order, wanted: set[ProcessKey]) -> Iterator[ListedRow]:
        """Each parent before its children."""
        sums = self._sums()
        tops = _sorted(self._children.get(None, ()), order, sums)
        left = [(row, "", "") for row in reversed(tops) if row.key in wanted]
        while left:
            row, branch, below = left.pop()
            children = [child for child in self._children.get(row.key, ()) if child.key in wanted]
            if children and row.key in order.folded:
                yield ListedRow(sums[row.key], branch, self._below(row))
                continue
            yield ListedRow(row, branch)
            for place, child in enumerate(reversed(_sorted(children, order, sums))):
                last = place == 0
                left.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))

    def _below(self, row: ProcessRow) -> list[ProcessRow]:
        found: list[ProcessRow] = []
        left = [row]
        while left:
            children = self._children.get(left.pop().key, ())
            found += children
            left += children
        return found

    def _sums(self) -> dict[ProcessKey, ProcessRow]:
        """Each process with all that is below it."""
        sums = dict(self._rows)
        for row in sorted(self._rows.values(), key=lambda row: (row.start, row.pid), reverse=True):
            parent = self._parents.get(row.key)
            if parent is not None:
                sums[parent] = _added(sums[parent], sums[row.key])
        return sums


def _added(parent: ProcessRow, child: ProcessRow) -> ProcessRow:
    sums: dict[str, Any] = {name: _sum(getattr(parent, name), getattr(child, name)) for name in _SUMS}
    return parent._replace(**sums)


def _sum(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other
