"""How many sources could not be read, of all collectors' newest rows."""

from __future__ import annotations

from collections.abc import Iterable

from prom_probe.model.definition import READABLE
from prom_probe.model.series import Newest

_ZEROS = (bytes(8), b"\x00" * 7 + b"\x80")  # 0.0, and -0.0


class UnreadableSources:
    """Remembers where the columns of `READABLE` stand: there are thousands of others."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int, list[int]]] = {}  # by collector: layout, columns seen, places

    def count(self, rows: Iterable[Newest]) -> int:
        """How many of the columns are 0 in these rows."""
        return sum(row.payload[8 * place : 8 * place + 8] in _ZEROS for row in rows for place in self._of(row))

    def _of(self, row: Newest) -> list[int]:
        layout, seen, places = self._places.get(row.collector, (-1, 0, []))
        if layout != row.layout or seen > len(row.columns):
            seen, places = 0, []
        for place in range(seen, len(row.columns)):
            if row.columns[place].family.name == READABLE.family.name:
                places.append(place)
        self._places[row.collector] = row.layout, len(row.columns), places
        return places
