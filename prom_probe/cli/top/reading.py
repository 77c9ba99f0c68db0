"""All that is shown of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prom_probe.cli.top.minute import Minute
from prom_probe.cli.top.process_row import ProcessRow
from prom_probe.history.run_info import RunInfo
from prom_probe.model.run_event import RunEvent


class TreeTotals(NamedTuple):
    """Of the whole tree: bytes, CPUs, a count, and the time of the newest sample up to the moment."""

    memory: float | None = None
    limit: float | None = None
    cpu: float | None = None
    processes: float | None = None
    newest: float | None = None


class MomentReading(NamedTuple):
    """`moment` is in Unix seconds. `end`: the last moment of a source to which nothing is added any more, else None.

    `settled`: samples of the moment that come late are there too. `span`: the first and last sample of the source,
    asked for where the moment has none.
    """

    moment: float
    end: float | None
    settled: bool
    run: RunInfo
    tree: str
    rows: Sequence[ProcessRow]
    totals: TreeTotals
    minute: Minute
    events: Sequence[RunEvent]
    span: tuple[float, float] | None = None


class MomentRequest(NamedTuple):
    """What to read: a moment, None for the newest, and a tree, None for the first one."""

    moment: float | None
    tree: str | None


class NoReading(NamedTuple):
    """Why there is no reading."""

    text: str
