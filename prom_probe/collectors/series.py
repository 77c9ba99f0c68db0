"""Series that come and go: each gets a column with its first value, and loses it when it is no longer written."""

from prom_probe.model.definition import Definition
from prom_probe.model.family import column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE

# A column is kept for this many collections after its last value.
_KEPT = 10


class SeriesWriter:
    """Writes values by definition and labels into a layout's row; owned by the layout's collector."""

    def __init__(self, layout: Layout, limit: int = 4000) -> None:
        self._layout = layout
        self._limit = limit
        self._groups: dict[tuple[str, ...], Group] = {}
        self._written: dict[tuple[str, ...], int] = {}  # the number of the last collection that wrote it
        self._number = 0

    def begin(self) -> None:
        """Before the first `write` of a collection."""
        self._number += 1

    def write(self, definition: Definition, value: float, *labels: str, exposed: bool = True) -> None:
        """`labels` are values, in the definition's order. At the limit, new series are dropped."""
        key = (definition.family.name, *labels)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= self._limit:
                return
            pairs = dict(zip(definition.labels, labels, strict=True))
            group = self._groups[key] = self._layout.add((column(definition.family, exposed=exposed, **pairs),))
        self._layout.row[group.start] = value
        self._written[key] = self._number

    def end(self) -> None:
        """Mark the series that this collection has not written as absent."""
        if len(self._written) == len(self._groups) and all(n == self._number for n in self._written.values()):
            return
        for key, number in list(self._written.items()):
            if number == self._number:
                continue
            group = self._groups[key]
            if self._number - number >= _KEPT:
                self._layout.retire(group)
                del self._groups[key], self._written[key]
            else:
                self._layout.row[group.start] = STALE
