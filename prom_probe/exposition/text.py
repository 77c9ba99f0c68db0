"""The text of `/metrics`: the newest values of every exposed series, by content type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from operator import itemgetter
from sys import byteorder
from typing import NamedTuple

import msgspec

from prom_probe.exposition.formats import TEXT, WITH_CREATED, Format, headings, untyped
from prom_probe.model.family import Column, Family
from prom_probe.model.labels import METRIC_NAME, Labels, label_value
from prom_probe.model.sample import STALE, is_stale
from prom_probe.model.series import Newest
from prom_probe.model.written_names import created_metric, metric_labels

_encode = msgspec.json.Encoder().encode


class _CollectorColumns:
    """The exposed columns of one collector's layout, prepared once and extended when columns are appended."""

    __slots__ = ("_known", "columns", "exposed", "indices", "layout", "starts", "take")

    def __init__(self, newest: Newest) -> None:
        self.columns, self.layout = newest.columns, newest.layout
        self._known = 0
        self.exposed: list[Column] = []
        self.indices: list[int] = []
        self.starts: list[bytes] = []  # of each line, up to the value
        self.take: Callable[[Sequence[float]], Sequence[float]] = _take_none

    def fits(self, newest: Newest) -> bool:
        """Whether this is still the collector's layout, possibly with columns appended."""
        return newest.layout == self.layout and newest.columns is self.columns

    def grow(self, form: Format) -> bool:
        """Add the columns appended since the last call; True if any of them is exposed."""
        known, self._known = self._known, len(self.columns)
        before = len(self.indices)
        for index in range(known, self._known):
            column = self.columns[index]
            if column.exposed:
                self.exposed.append(column)
                self.indices.append(index)
                self.starts.append(form.series(column.family, column.shown or column.labels).encode() + b" ")
        if len(self.indices) == before:
            return False
        self.take = _taker(self.indices)
        return True

    def values(self, payload: bytes) -> Sequence[float]:
        """The exposed columns' values in `payload`; columns beyond its end get the staleness marker."""
        row: Sequence[float] = memoryview(payload).cast("d") if byteorder == "little" else _swapped(payload)
        if self.indices and len(row) <= self.indices[-1]:
            row = [*row, *[STALE] * (self.indices[-1] + 1 - len(row))]
        return self.take(row)


class _OutputLines(NamedTuple):
    """All lines in output order. Each takes three pieces: its family's header if it is the first line, start, value."""

    order: Callable[[Sequence[float]], Sequence[float]]  # from the collectors' order to the lines' order
    pieces: list[bytes]
    families: list[tuple[int, int]]  # for each line: the first line of its family, and the end of it


class Exposition:
    """Renders `/metrics`; keeps what does not change between scrapes. Not thread-safe.

    `names`: only families or series of these names; None for all.
    """

    def __init__(self, form: Format = TEXT, names: Collection[str] | None = None) -> None:
        self.form = form
        self._names = names
        self._collectors: dict[str, _CollectorColumns] = {}
        self._lines = _OutputLines(_take_none, [], [])

    def render(self, newest: Sequence[Newest]) -> bytes:
        """The text of the exposed series that have a value: families sorted by name, without timestamps."""
        if self._update(newest):
            self._lines = _output_lines([self._collectors[row.collector] for row in newest], self.form, self._names)
        values: list[float] = []
        for row in newest:
            values += self._collectors[row.collector].values(row.payload)
        return self._write(values) + self.form.end if values else self.form.end

    def _update(self, newest: Sequence[Newest]) -> bool:
        """Update the collectors' columns; True if that changes the lines."""
        changed = [row.collector for row in newest] != list(self._collectors)
        if changed:
            self._collectors = {
                row.collector: self._collectors.get(row.collector) or _CollectorColumns(row) for row in newest
            }
        for row in newest:
            columns = self._collectors[row.collector]
            if not columns.fits(row):
                columns = self._collectors[row.collector] = _CollectorColumns(row)
                changed = True
            changed |= columns.grow(self.form)
        return changed

    def _write(self, values: Sequence[float]) -> bytes:
        order, pieces, families = self._lines
        if not pieces:
            return b""
        ordered = order(values)
        # One call formats all values: "[1.0,null,2.5]"; null is NaN, an infinity or the staleness marker.
        texts = _encode(ordered)[1:-1].replace(b",", b"\n,").replace(b".0\n", b"\n").split(b",")
        texts[-1] = texts[-1].removesuffix(b".0") + b"\n"
        pieces = pieces.copy()
        pieces[2::3] = texts
        absent: dict[tuple[int, int], int] = {}
        for i, text in enumerate(texts):
            if text == b"null\n":
                value = ordered[i]
                if is_stale(value):
                    pieces[3 * i + 1] = pieces[3 * i + 2] = b""
                    absent[families[i]] = absent.get(families[i], 0) + 1
                else:
                    pieces[3 * i + 2] = b"NaN\n" if value != value else b"+Inf\n" if value > 0 else b"-Inf\n"
        for (first, end), count in absent.items():
            if count == end - first:  # no header for a family without values
                pieces[3 * first] = b""
        return b"".join(pieces)


# A line: the name it is listed under, the place of its value, its text up to the value, its family, its labels.
_Line = tuple[str, int, bytes, Family, Labels]


def _output_lines(collectors: Sequence[_CollectorColumns], form: Format, names: Collection[str] | None) -> _OutputLines:
    """The lines of all collectors: sorted by family, within a family in the order of the columns.

    A series that ended and came back has two columns; the last one counts.
    """
    lines: dict[bytes, _Line] = {}
    families: dict[str, Family] = {}
    position = 0
    for columns in collectors:
        for column, start in zip(columns.exposed, columns.starts, strict=True):
            labels = column.shown or column.labels
            lines.pop(start, None)
            if names is None or column.family.name in names or label_value(labels, METRIC_NAME) in names:
                family = families.setdefault(column.family.name, column.family)
                if family.type != column.family.type:  # of two targets: one header is true of both
                    family = families[family.name] = untyped(family)
                lines[start] = (family.name, position, start, family, labels)
            position += 1
    shown = headings(form, families.values())
    if len(shown) < len(families) or any(name != heading for name, (heading, _) in shown.items()):
        ordered = [(shown[line[0]][0], *line[1:]) for line in lines.values() if line[0] in shown]
    else:
        ordered = list(lines.values())
    ordered.sort(key=itemgetter(0, 1))
    order: list[int] = []
    pieces: list[bytes] = []
    spans: list[tuple[int, int]] = []
    for _, same in groupby(ordered, key=itemgetter(0)):
        group = list(same)
        family = shown[group[0][3].name][1]
        if form.whole and family.type in WITH_CREATED:
            group = _metric_by_metric(group)
        spans += [(len(spans), len(spans) + len(group))] * len(group)
        order += [line[1] for line in group]
        head = form.head(family).encode()
        for line in group:
            pieces += (head, line[2], b"")
            head = b""
    return _OutputLines(_taker(order), pieces, spans)


def _metric_by_metric(lines: Sequence[_Line]) -> list[_Line]:
    """A family's lines with those of one metric together, at the place of the first of them.

    The time at which a metric was created is left out where the family has no such metric: parsers refuse it.
    """
    metrics: dict[Labels, list[_Line]] = {}
    for line in lines:
        metrics.setdefault(metric_labels(line[3], line[4]), []).append(line)
    return [line for lines in metrics.values() if not all(created_metric(line[3]) for line in lines) for line in lines]


def _taker(indices: Sequence[int]) -> Callable[[Sequence[float]], Sequence[float]]:
    """A function that picks these items of a sequence, without a Python loop."""
    if len(indices) == 1:
        only = indices[0]
        return lambda row: (row[only],)
    return itemgetter(*indices) if indices else _take_none


def _take_none(row: Sequence[float]) -> Sequence[float]:
    return ()


def _swapped(payload: bytes) -> Sequence[float]:
    from array import array

    row = array("d", payload)
    row.byteswap()
    return row
