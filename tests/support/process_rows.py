"""The process collector's frames as a test writes them: columns of processes, and rows of their values."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from prom_probe.collectors.process import families as f
from prom_probe.model.definition import Definition
from prom_probe.model.family import Column
from prom_probe.model.labels import make_labels
from prom_probe.model.sample import STALE

# As many columns as `columns_of` gives.
WIDTH = 6


class Values(NamedTuple):
    """A process's values in a row."""

    start: float
    resident: float = 1e6
    peak: float = STALE
    user: float = 0.0
    system: float = 0.0


GONE = [STALE] * WIDTH


def columns_of(
    pid: int, comm: str = "work", *, tree: str = "app", ppid: int = 1, cmdline: str = "work -x"
) -> list[Column]:
    """A process's columns, its proctree_process_info last."""
    own = {"tree": tree, "pid": str(pid), "comm": comm}
    return [
        _column(f.PROCESS_CPU, own | {"mode": "user"}),
        _column(f.PROCESS_CPU, own | {"mode": "system"}),
        _column(f.PROCESS_RESIDENT, own),
        _column(f.PROCESS_START_TIME, own),
        _column(f.PROCESS_PEAK, own),
        _column(f.PROCESS_INFO, own | {"ppid": str(ppid), "cmdline": cmdline}),
    ]


def _column(definition: Definition, labels: dict[str, str]) -> Column:
    return Column(definition.family, make_labels(definition.family.name, labels))


def row_of(*processes: Values | None) -> bytes:
    """A row of these processes' values; None for one that is gone."""
    values: list[float] = []
    for one in processes:
        values += GONE if one is None else [one.user, one.system, one.resident, one.start, one.peak, 1.0]
    return array("d", values).tobytes()
