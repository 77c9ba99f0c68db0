"""The rows of a moment, from what the source answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from prom_probe.cli.answer import AnswerSeries
from prom_probe.cli.top.expressions import GAUGES, INFO, WHAT
from prom_probe.cli.top.process_row import ProcessKey, ProcessRow, process_key
from prom_probe.cli.top.reading import TreeTotals
from prom_probe.history.process_record import ProcessRecord
from prom_probe.model.labels import METRIC_NAME

# How long one that has started or ended is marked. Those that have ended are listed for that long.
STARTED_S = 3.0
ENDED_S = 5.0

_TREE = "tree_"


def rows_at(moment_s: float, answer: Iterable[AnswerSeries], records: Sequence[ProcessRecord]) -> list[ProcessRow]:
    """Those that live at the moment, by the answer to `moment_expression`, and those that have ended just before."""
    found: dict[ProcessKey, ProcessRow] = {}
    for row in _alive(moment_s, answer):
        known = found.setdefault(row.key, row)
        if known.memory is None:  # it has changed its name, and this is the newer one
            found[row.key] = row
    for record in records:
        key = process_key(record.pid, record.start)
        if key not in found and (ended := _maybe_ended(moment_s, record)):
            found[key] = ended
    return list(found.values())


def _alive(moment_s: float, answer: Iterable[AnswerSeries]) -> Iterable[ProcessRow]:
    values: dict[tuple[str, str], dict[str, Any]] = {}
    for series in answer:
        labels = series.labels
        if "pid" not in labels:
            continue
        of = values.setdefault((labels["pid"], labels.get("comm", "")), {})
        name = labels.get(METRIC_NAME, "")
        if name == INFO:
            of |= {"ppid": int(labels["ppid"]), "command_line": labels.get("cmdline") or None}
        elif (value := _number(series)) is not None:
            of[GAUGES.get(name) or labels[WHAT]] = value
    for (pid, name), of in values.items():
        if "start" in of:  # else only its counters are within the window of a rate: it has ended
            yield _marked(ProcessRow(int(pid), name=name, age=max(0.0, moment_s - of["start"]), **of))


def _marked(row: ProcessRow) -> ProcessRow:
    if row.threads == 0:  # its memory is gone, its parent has not waited for it yet
        return row._replace(mark="zombie", note="zombie")
    return row._replace(mark="started") if (row.age or 0.0) <= STARTED_S else row


def _maybe_ended(moment_s: float, record: ProcessRecord) -> ProcessRow | None:
    if record.end is None or record.first > moment_s or record.end < moment_s - ENDED_S:
        return None
    ago = max(0, math.floor(moment_s - record.end))
    return ProcessRow(
        pid=record.pid,
        start=record.start,
        name=record.comm[-1] if record.comm else "",
        ppid=record.ppid,
        command_line=record.cmdline,
        peak=record.memory_peak_bytes,
        end=record.end,
        mark="ended",
        note=f"{record.how_it_ended} {ago} s ago",
    )


def totals_of(answer: Iterable[AnswerSeries]) -> TreeTotals:
    """The tree's own values from the answer to `moment_expression`."""
    found = {}
    for series in answer:
        what = series.labels.get(WHAT, "")
        if what.startswith(_TREE):
            found[what.removeprefix(_TREE)] = _number(series)
    return TreeTotals(**found)


def _number(series: AnswerSeries) -> float | None:
    value = float(series.points[0][1])
    return value if math.isfinite(value) else None
