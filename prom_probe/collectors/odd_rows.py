"""Rows of kernel files that are not as documented: skipped, counted by source, logged once for each source."""

from collections.abc import Callable

import msgspec

from prom_probe.model.definition import ODD_ROWS
from prom_probe.model.family import column
from prom_probe.model.layout import Group, Layout
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd

# A log line shows this much of a row.
_SHOWN = 200


class OddRows:
    """The counts of a worker's sources; one instance a worker, shared by its collectors."""

    def __init__(self, log: Callable[[str, str], None] = lambda level, message: None) -> None:
        self.log = log
        self.counts: dict[str, int] = {}
        self._said: set[str] = set()

    def of(self, source: str) -> Odd:
        """What takes the odd rows of a source."""
        return lambda row: self.count(source, row)

    def count(self, source: str, row: bytes) -> None:
        """Count a row that is skipped."""
        self.counts[source] = self.counts.get(source, 0) + 1
        if source not in self._said:
            self._said.add(source)
            shown = repr(row[:_SHOWN])[2:-1] + ("..." if len(row) > _SHOWN else "")
            self.log("warn", f"{source}: cannot parse this row, which is skipped, as others like it will be: {shown}")

    def count_error(self, error: ParseError) -> None:
        """Count a file that is one record."""
        self.count(error.source.strip("/").replace("/", "_").lower(), error.text)


class OddRowColumns:
    """The columns of the counts, in the layout of the one collector of a worker that shows them."""

    def __init__(self, layout: Layout, odd_rows: OddRows) -> None:
        self._layout = layout
        self._odd_rows = odd_rows
        self._groups: dict[str, Group] = {}

    def write(self) -> None:
        for source, count in self._odd_rows.counts.items():
            group = self._groups.get(source)
            if group is None:
                group = self._groups[source] = self._layout.add((column(ODD_ROWS.family, source=source),))
            self._layout.row[group.start] = count

    def save(self) -> bytes:
        """For the collector's checkpoint; b"" while there is nothing to tell."""
        return msgspec.msgpack.encode(self._odd_rows.counts) if self._odd_rows.counts else b""

    def restore(self, state: bytes) -> None:
        try:
            saved = msgspec.msgpack.decode(state or b"\x80", type=dict[str, int])
        except msgspec.DecodeError:
            return
        for source, count in saved.items():
            self._odd_rows.counts[source] = self._odd_rows.counts.get(source, 0) + count
