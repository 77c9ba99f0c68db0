"""The last minute second by second: what sparklines are drawn from, asked for once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from prom_probe.cli.answer import AnswerSeries
from prom_probe.cli.top.expressions import WHAT

SECONDS = 60

# How many seconds are remembered for somebody who goes back and forth.
_REMEMBERED = 20 * SECONDS

# What it is (memory, cpu, tree_memory), and of which PID; None for the tree.
CellKey: TypeAlias = tuple[str, int | None]


class Minute(NamedTuple):
    """The last minute up to a moment: its seconds (Unix), and the values of each that has one."""

    times: Sequence[float]
    cells: Sequence[Mapping[CellKey, float]]

    def of(
        self, what: str, pid: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> list[float | None]:
        """A value for each second; None before `start_s`, after `end_s`, and where there is none."""
        return [
            cell.get((what, pid)) if start_s <= t and (end_s is None or t < end_s) else None
            for t, cell in zip(self.times, self.cells, strict=True)
        ]


def added(lines: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The sum of each second's values; None where there is none."""
    seconds = ([value for value in cell if value is not None] for cell in zip(*lines, strict=True))
    return [sum(known) if known else None for known in seconds]


class MinuteCache:
    """Remembers seconds of one tree. Not for several threads at once."""

    def __init__(self) -> None:
        self._cells: dict[int, dict[CellKey, float]] = {}
        self._provisional: set[int] = set()

    def missing(self, moment_s: float) -> tuple[float, float] | None:
        """The first and the last second, up to a moment, that have to be asked for."""
        wanted = [t for t in _grid(moment_s) if t not in self._cells or t in self._provisional]
        return (wanted[0] / 1000, wanted[-1] / 1000) if wanted else None

    def add(self, start_s: float, end_s: float, answer: Iterable[AnswerSeries], settled_s: float) -> None:
        """The answer to a range query with a step of a second. What is after `settled_s` is to be asked for again."""
        asked = range(_ms(start_s), _ms(end_s) + 1, 1000)
        for t in asked:
            self._cells[t] = {}
            (self._provisional.add if t / 1000 > settled_s else self._provisional.discard)(t)
        for series in answer:
            pid = series.labels.get("pid")
            key = series.labels[WHAT], None if pid is None else int(pid)
            for t_s, value in series.points:
                if (t := _ms(t_s)) in self._cells:
                    self._cells[t][key] = float(value)

    def minute(self, moment_s: float) -> Minute:
        """The last minute up to a moment; forgets what is far from it, if there is too much."""
        grid = _grid(moment_s)
        found = Minute([t / 1000 for t in grid], [self._cells.get(t, {}) for t in grid])
        if len(self._cells) > _REMEMBERED:
            self._cells = {t: cell for t, cell in self._cells.items() if grid[0] <= t <= grid[-1]}
            self._provisional &= self._cells.keys()
        return found


def _grid(moment_s: float) -> range:
    last = _ms(moment_s)
    return range(last - 1000 * (SECONDS - 1), last + 1, 1000)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
