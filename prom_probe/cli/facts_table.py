"""The facts of one run, or of two beside each other, as text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import StringIO

import msgspec

from prom_probe.cli.clock import format_time
from prom_probe.cli.facts import FACTS, Fact, RunFacts
from prom_probe.config.units import human_duration, human_size
from prom_probe.model.printable import printable, printable_json, shorten

# Of a command line in a table for people.
_MOST_CHARACTERS = 60


def render_facts(runs: Sequence[RunFacts], form: str) -> str:
    """The facts of one run or two in one of FORMS; of two also the ratios, second to first."""
    return FORMS[form](runs)


def ratio(fact: Fact, runs: Sequence[RunFacts]) -> float | None:
    """Second to first; None for words, times, and what is not known or 0."""
    if len(runs) < 2 or fact.unit in ("text", "time"):
        return None
    first, second = (fact.read(run) for run in runs)
    return second / first if isinstance(first, int | float) and isinstance(second, int | float) and first else None


def _table(runs: Sequence[RunFacts]) -> str:
    rows = _rows(runs)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _markdown(runs: Sequence[RunFacts]) -> str:
    head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in _rows(runs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _rows(runs: Sequence[RunFacts]) -> list[list[str]]:
    """The cells for people, under a row of the sources; a fact that nobody knows has none."""
    rows = [["", *(printable(run.source) for run in runs), *(["ratio"] if len(runs) > 1 else [])]]
    for fact in FACTS:
        cells = [_shown(fact, run) for run in runs]
        if any(cells):
            found = ratio(fact, runs)
            rows.append([fact.name, *cells, *(["" if found is None else f"{found:.2f}"] if len(runs) > 1 else [])])
    return rows


def _shown(fact: Fact, run: RunFacts) -> str:
    value = fact.read(run)
    if value is None:
        return ""
    if isinstance(value, str):
        return shorten(printable(value), _MOST_CHARACTERS)
    if fact.unit == "time":
        return format_time(value, milliseconds=False)
    if fact.unit == "bytes":
        return human_size(value)
    return human_duration(value) if fact.unit == "seconds" else f"{value:.4g}"


def _csv(runs: Sequence[RunFacts]) -> str:
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fact", "unit", *(printable(run.source) for run in runs), *(["ratio"] if len(runs) > 1 else [])])
    for fact in FACTS:
        values = [fact.read(run) for run in runs]
        cells = ["" if value is None else printable(str(value)) for value in values]
        found = ratio(fact, runs)
        unit = fact.unit.replace("text", "")
        writer.writerow([fact.name, unit, *cells, *(["" if found is None else found] if len(runs) > 1 else [])])
    return out.getvalue().rstrip("\n")


def _json(runs: Sequence[RunFacts]) -> str:
    whole: object = runs[0]
    if len(runs) > 1:
        ratios = {fact.name: found for fact in FACTS if (found := ratio(fact, runs)) is not None}
        whole = {"runs": list(runs), "ratios": ratios}
    return printable_json(msgspec.json.format(msgspec.json.encode(whole)).decode())


FORMS: dict[str, Callable[[Sequence[RunFacts]], str]] = {
    "table": _table,
    "md": _markdown,
    "csv": _csv,
    "json": _json,
}
