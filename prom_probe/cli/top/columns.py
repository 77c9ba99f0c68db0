"""The columns of the table: what is in them, how it reads, what they sort by, and when there is room for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prom_probe.cli.top.process_row import ProcessRow
from prom_probe.config.units import human_duration, human_size
from prom_probe.model.printable import printable

_NONE = "–"


class TopColumn(NamedTuple):
    """`key`: the key that sorts by it. `room`: it is shown in terminals of so many columns.

    `sums`: a parent sorts by it with all its children, and shows their sum while they are folded away.
    """

    name: str
    title: str
    key: str
    width: int
    room: int
    text: Callable[[ProcessRow], str]
    sums: bool = False


def _size(value: float | None) -> str:
    return _NONE if value is None else human_size(value)


def _rate(value: float | None) -> str:
    return _NONE if value is None else f"{human_size(value)}/s"


def _count(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0f}"


def _memory(row: ProcessRow) -> str:
    """One that has ended may be what is looked for: it has its peak."""
    return f"peak {_size(row.peak)}" if row.mark == "ended" else _size(row.memory)


def cpus(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """In steps that fit it: 3.2 s, 45 s, 3m20s, 2h5m, 3d4h."""
    if seconds is None:
        return _NONE
    for least, step in ((86_400, 3600), (3600, 60), (10, 1)):
        if seconds >= least:
            return human_duration(seconds // step * step)
    return f"{seconds:.1f} s"


NAME = TopColumn("name", "PROCESS", "n", 0, 0, lambda row: printable(row.name))

# From left to right, the name between the first and the others. The sparkline follows the memory.
COLUMNS = (
    TopColumn("pid", "PID", "p", 8, 0, lambda row: str(row.pid)),
    NAME,
    TopColumn("cpu", "CPU", "c", 6, 0, lambda row: cpus(row.cpu), sums=True),
    TopColumn("memory", "MEMORY", "m", 14, 0, _memory, sums=True),
    TopColumn("read", "READ", "o", 12, 110, lambda row: _rate(row.read), sums=True),
    TopColumn("write", "WRITTEN", "i", 12, 110, lambda row: _rate(row.write), sums=True),
    TopColumn("threads", "THR", "h", 5, 80, lambda row: _count(row.threads), sums=True),
    TopColumn("age", "AGE", "a", 9, 80, lambda row: duration(row.age)),
)
BY_NAME = {column.name: column for column in COLUMNS}

# (terminal's columns, characters of a sparkline): a character for each one, two, three, four seconds.
_SPARKLINES = ((170, 60), (125, 30), (90, 20), (70, 15))


def sparkline_width(terminal: int) -> int:
    """0 where there is no room."""
    return next((width for room, width in _SPARKLINES if terminal >= room), 0)


def columns_for(terminal: int) -> list[TopColumn]:
    """Those that a terminal of so many columns has room for."""
    return [column for column in COLUMNS if terminal >= column.room]


def sort_value(row: ProcessRow, name: str) -> float | str | None:
    """What a column sorts by. One that has ended sorts by the most memory that it had."""
    if name == "memory" and row.mark == "ended":
        return row.peak
    if name == "name":
        return row.name.lower()
    value: float | None = getattr(row, name)
    return value
