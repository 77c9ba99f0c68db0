"""Writes docs/metrics.md, every metric of `/metrics` and the query API, from the tables of the code.

`python -m prom_probe.cli.metrics_doc docs/metrics.md`, or `make docs`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from prom_probe.aggregate import families as aggregate
from prom_probe.aggregate import sending_families as sending
from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.collectors.scrape.families import REPORT
from prom_probe.model.definition import Definition
from prom_probe.web import families as web

# Measured in the aggregator process, which loads no collector.
OWN: tuple[Definition, ...] = (*aggregate.DEFINITIONS, *sending.DEFINITIONS, *web.DEFINITIONS)


class _Section(NamedTuple):
    """The metrics whose names start with `prefix`, and where they are shown."""

    prefix: str
    title: str
    shown: str
    text: str


_LOCAL = "local; exposed with `--expose.per-process`"
_DETAIL = "local; exposed with `--expose.self=full`"
# A name belongs to the first section whose prefix fits.
_SECTIONS = (
    _Section(
        "proctree_process_",
        "Processes",
        _LOCAL,
        "One process of a watched tree, from the first collection that sees it.",
    ),
    _Section("proctree_", "Process trees", "exposed", "All processes of a watched tree together."),
    _Section(
        "cgroup_",
        "Cgroups",
        "exposed",
        "The cgroup that a watched tree's oldest process is in (with a cgroup watch, the one watched), and the cgroups "
        "below it; never that of prom_probe in its place.",
    ),
    _Section(
        "system_",
        "System",
        "exposed; in a container local, unless `--expose.system`",
        "The whole machine, whatever a container sees of it.",
    ),
    _Section("gpu_process_", "Processes on GPUs", _LOCAL, "One process of a watched tree on one GPU."),
    _Section("gpu_", "GPUs", "exposed", "One GPU."),
    _Section("prom_probe_", "prom_probe itself", "exposed", "What prom_probe costs, and what it could not do."),
    _Section(
        "",
        "Applications' own metrics",
        "local",
        "About each scraped target, beside all that its page has. `--scrape.expose` shows some of that on `/metrics`.",
    ),
)

_HEAD = """\
# Metrics

Every metric with its type, unit, labels, source and exact definition. `make docs` writes this page from the tables that
the program itself uses.

*Exposed* metrics are on `/metrics`; *local* ones are only in the query API, which has the exposed ones too. What the
platform or missing permissions do not provide has no series, never a zero: `prom_probe_source_readable` is then 0, and
`prom-probe doctor` says why and what to change. A histogram has the series `_bucket`, `_sum` and `_count`.
"""
_COLUMNS = ("name", "type", "unit", "labels", "exposed or local", "platforms", "source", "definition")


def render(definitions: Iterable[Definition]) -> str:
    """The page: families in the section of their prefix, in their given order."""
    rows: dict[_Section, list[str]] = {section: [] for section in _SECTIONS}
    for definition in definitions:
        family = definition.family
        section = next(s for s in _SECTIONS if family.name.startswith(s.prefix))
        rows[section].append(
            _row(
                f"`{family.name}`",
                family.type,
                family.unit or "-",
                ", ".join(f"`{label}`" for label in definition.labels) or "-",
                "local" if definition.local else _DETAIL if family.detail else section.shown,
                definition.platforms,
                definition.source,
                f"{family.help} {definition.definition}{_since(definition)}",
            )
        )
    parts = [_HEAD]
    for section, lines in rows.items():
        if lines:
            parts += [
                f"\n## {section.title}\n\n{section.text}\n\n",
                _row(*_COLUMNS),
                _row(*["---"] * len(_COLUMNS)),
                *lines,
            ]
    return "".join(parts)


def _since(definition: Definition) -> str:
    """What tells when a counter began."""
    start = definition.family.start
    return f" Since `{start.gauge}`." if start is not None else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def page() -> str:
    """The whole of docs/metrics.md."""
    return render(chain(DEFINITIONS, OWN, REPORT))


def main() -> None:
    """Write the page to the given file, or to standard output."""
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as stream:
            stream.write(page())
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
