"""The table of processes: a widget that draws the lines that are in sight."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from prom_probe.cli.top.arrange import ListedRow, Order
from prom_probe.cli.top.columns import BY_NAME, NAME, columns_for, sparkline_width
from prom_probe.cli.top.minute import Minute, added
from prom_probe.cli.top.process_row import ProcessKey, ProcessRow
from prom_probe.cli.top.sparkline import sparkline
from prom_probe.model.printable import printable

_HEAD = Style(bold=True, underline=True)
_CURSOR = Style(reverse=True)
_STYLES = {"": Style(), "started": Style(bold=True, color="green"), "zombie": Style(dim=True), "ended": Style(dim=True)}
_MARKS = {"": " ", "started": "+", "zombie": "Z", "ended": "-"}
_LEAST_NAME = 12
_MOST_BRANCH = 30  # characters; a chain of forks can be deep


class TopTable(ScrollView, inherit_bindings=False):
    """The cursor stays with its process while rows come, go and change places."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__()
        self._listed: Sequence[ListedRow] = ()
        self._minute = Minute((), ())
        self._order = Order()
        self._graph = "memory"
        self._top = 0.0
        self._cursor = 0

    def show(self, listed: Sequence[ListedRow], minute: Minute, order: Order, graph: str) -> None:
        """Draw these rows, with sparklines of `graph`."""
        under = self.under_cursor
        key = under.key if under else None
        self._listed, self._minute, self._order, self._graph = listed, minute, order, graph
        self._top = max((value for one in listed for value in self._cells(one) if value is not None), default=0.0)
        self.virtual_size = Size(self.size.width, len(listed) + 1)
        self._cursor = self._place_of(key)
        self.refresh()

    def _place_of(self, key: ProcessKey | None) -> int:
        for place, one in enumerate(self._listed):
            if one.row.key == key:
                return place
        return min(self._cursor, max(0, len(self._listed) - 1))

    @property
    def under_cursor(self) -> ProcessRow | None:
        return self._listed[self._cursor].row if self._listed else None

    def move(self, rows: int) -> None:
        """The cursor up or down."""
        self._cursor = max(0, min(len(self._listed) - 1, self._cursor + rows))
        self.scroll_to_region(Region(0, self._cursor + 1, 1, 1), animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The head stays where it is; below it are the rows in sight."""
        width = self.size.width
        if y == 0:
            return _strip(self._head(width), width, _HEAD)
        place = y - 1 + round(self.scroll_offset.y)
        if place >= len(self._listed):
            return Strip.blank(width)
        one = self._listed[place]
        style = _STYLES[one.row.mark]
        return _strip(self._line(one, width), width, style + _CURSOR if place == self._cursor else style)

    def _head(self, width: int) -> str:
        sorting = "▲" if self._order.is_upward else "▼"
        titles = {
            column.name: column.title + (sorting if column.name == self._order.by else "")
            for column in columns_for(width)
        }
        return _laid_out(titles, f"{self._graph}, last minute", width)

    def _line(self, one: ListedRow, width: int) -> str:
        row = one.row
        texts = {column.name: column.text(row) for column in columns_for(width)}
        texts["pid"] = f"{_MARKS[row.mark]}{texts['pid']:>{BY_NAME['pid'].width - 1}}"
        texts["name"] = one.branch[-_MOST_BRANCH:] + _described(one)
        return _laid_out(texts, sparkline(self._cells(one), sparkline_width(width) or 1, self._top), width)

    def _cells(self, one: ListedRow) -> list[float | None]:
        return added([self._minute.of(self._graph, row.pid, row.start, row.end) for row in (one.row, *one.folded)])


def _described(one: ListedRow) -> str:
    """The name, how it ended or how many are folded away, and the command line."""
    row = one.row
    folded = f" [+{len(one.folded)}]" if one.folded else ""
    note = f" ({row.note})" if row.note else ""
    command = f"  {row.command_line}" if row.command_line and row.command_line != row.name else ""
    return printable(f"{row.name}{folded}{note}{command}")


def _laid_out(texts: dict[str, str], graph: str, width: int) -> str:
    """Cells beside each other; the name has what the others leave."""
    graph_width = sparkline_width(width)
    taken = sum(BY_NAME[name].width + 1 for name in texts if name != NAME.name) + graph_width
    cells = []
    for name, text in texts.items():
        column = BY_NAME[name]
        if column is NAME:
            cells.append(set_cell_size(text, max(_LEAST_NAME, width - taken - 1)))
        else:
            cells.append(set_cell_size(text.rjust(column.width), column.width))
    return " ".join([*cells, set_cell_size(graph, graph_width)])


def _strip(text: str, width: int, style: Style) -> Strip:
    return Strip([Segment(text, style)]).adjust_cell_length(width, style)
