"""Writes docs/metrics.md: every metric that `/metrics` and the query API may have, from the code's own tables.

`python -m prom_probe.cli.metrics_doc docs/metrics.md`, or `make docs`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from prom_probe.aggregate.aggregator import FAMILIES
from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.collectors.definition import Definition
from prom_probe.collectors.scrape.families import REPORT
from prom_probe.web import app

_RINGS = "the header of the ring"
_STORE = "the store"
_COLLECTIONS = "the frames of the probe workers"


class _Own(NamedTuple):
    """What the family of one of the aggregator's metrics does not say of itself."""

    labels: str
    source: str
    definition: str


# What is measured in the aggregator's process itself, which loads no collector.
_OWN: dict[str, _Own] = {
    "prom_probe_collector_runs_total": _Own(
        "collector", _COLLECTIONS, "Count of batches decoded, whether or not the store could take them."
    ),
    "prom_probe_collector_success": _Own(
        "collector",
        _COLLECTIONS,
        "1 if the newest beat brought samples; 0 after an error, and after three missed beats.",
    ),
    "prom_probe_collector_duration_seconds": _Own(
        "collector", "the monotonic clock", "From the begin to the end of `collect`, encoding left out."
    ),
    "prom_probe_collector_overruns_total": _Own(
        "collector", _COLLECTIONS, "Count of beats that a worker skipped because it was still at an earlier one."
    ),
    "prom_probe_worker_beat_delay_seconds": _Own(
        "worker", "the monotonic clock, read in the worker", "From when a beat was due until it began, one a beat."
    ),
    "prom_probe_ring_frames_total": _Own("ring", _RINGS, "Count of frames since the ring was made."),
    "prom_probe_ring_dropped_frames_total": _Own(
        "ring", _RINGS, "Count of frames that found the ring full: their samples are lost."
    ),
    "prom_probe_ring_corrupt_frames_total": _Own(
        "ring", _RINGS, "Count of frames with a wrong CRC, or that could not be decoded."
    ),
    "prom_probe_ring_used_bytes": _Own("ring", _RINGS, "Bytes pushed and not yet popped."),
    "prom_probe_ingest_latency_seconds": _Own(
        "",
        "the monotonic clock, read in the worker and in the aggregator",
        "From the end of `collect` until the row is in the store, one observation a batch.",
    ),
    "prom_probe_tsdb_series": _Own("", _STORE, "Count of series with samples."),
    "prom_probe_tsdb_samples": _Own("", _STORE, "Count of samples that are not yet dropped."),
    "prom_probe_tsdb_storage_bytes": _Own(
        "", _STORE, "What --storage.tsdb.retention.size bounds: samples, columns and index; the decode cache left out."
    ),
    "prom_probe_tsdb_appended_samples_total": _Own("", _STORE, "Count of samples stored."),
    "prom_probe_tsdb_dropped_samples_total": _Own(
        "", _STORE, "Count of samples dropped by time, size or series limit."
    ),
    "prom_probe_tsdb_sealed_blocks_total": _Own("", _STORE, "Count of runs of rows that became blocks."),
    "prom_probe_tsdb_merged_blocks_total": _Own("", _STORE, "Count of blocks that merging has made."),
    "prom_probe_tsdb_rejected_samples_total": _Own(
        "reason",
        _STORE,
        "Count of samples that could not be stored: `duplicate`, `conflict`, `out_of_order`, `too_old`, "
        "`unknown_layout`, `malformed`, `series_limit`, `unannounced`.",
    ),
    "prom_probe_tsdb_persistent": _Own(
        "", _STORE, "1 while samples go to --storage.tsdb.path, 0 after an error; absent without the flag."
    ),
    "prom_probe_tsdb_disk_errors_total": _Own(
        "", _STORE, "Count of failed writes; absent without --storage.tsdb.path."
    ),
    "prom_probe_tsdb_damaged_total": _Own(
        "", _STORE, "Count of files and records given up at the start; absent without --storage.tsdb.path."
    ),
    "prom_probe_tsdb_wal_bytes": _Own("", _STORE, "Sizes of the log's segments; absent without --storage.tsdb.path."),
    "prom_probe_tsdb_block_file_bytes": _Own(
        "", _STORE, "Sizes of the block files; absent without --storage.tsdb.path."
    ),
    "prom_probe_tsdb_mapped_bytes": _Own(
        "", _STORE, "Bytes of blocks that the kernel may drop and read again; absent without --storage.tsdb.path."
    ),
    "prom_probe_build_info": _Own("version python_version", "the package", "Always 1."),
    "prom_probe_config_last_reload_successful": _Own(
        "", "the supervisor", "1 at the start and after a reload that succeeded, 0 after one that was refused."
    ),
    "prom_probe_config_last_reload_success_timestamp_seconds": _Own("", "the wall clock", "Seconds since 1970."),
    "prom_probe_uptime_seconds": _Own("", "the monotonic clock", "Since the supervisor's start."),
    "prom_probe_http_requests_total": _Own(
        "handler code", "the HTTP server", "Count of answers; `handler` is the route's template, or `none`."
    ),
    "prom_probe_query_duration_seconds": _Own(
        "", "the monotonic clock", "One observation a query of `/api/v1/query` and `/api/v1/query_range`."
    ),
    "prom_probe_scrape_duration_seconds": _Own(
        "", "the monotonic clock", "One observation a reading of `/metrics`, sending left out."
    ),
}

OWN: tuple[Definition, ...] = tuple(
    Definition(
        family, tuple(_OWN[family.name].labels.split()), _OWN[family.name].source, _OWN[family.name].definition, "all"
    )
    for family in (*FAMILIES.values(), app.REQUESTS, app.QUERY_SECONDS, app.SCRAPE_SECONDS)
)


class _Section(NamedTuple):
    """The metrics whose names begin with `prefix`, and where they are shown."""

    prefix: str
    title: str
    shown: str
    text: str


_LOCAL = "local; exposed with `--expose.per-process`"
# The first prefix that fits a name is its section.
_SECTIONS = (
    _Section("proctree_process_", "Processes", _LOCAL, "One process of a watched tree, once it was seen three times."),
    _Section("proctree_", "Process trees", "exposed", "All processes of a watched tree together."),
    _Section("cgroup_", "Cgroups", "exposed", "The cgroup of a watched tree: its own, never ours under its name."),
    _Section(
        "system_",
        "System",
        "exposed; in a container local, unless `--expose.system`",
        "The whole machine, whatever a container sees of it.",
    ),
    _Section("gpu_process_", "Processes on GPUs", _LOCAL, "One process of a watched tree on one GPU."),
    _Section("gpu_", "GPUs", "exposed", "One GPU."),
    _Section("prom_probe_", "prom_probe itself", "exposed", "What we cost, and what we could not do."),
    _Section(
        "",
        "Applications' own metrics",
        "local",
        "Of each target of `--scrape`, beside all that its page has, of which `--scrape.expose` shows a chosen part on "
        "`/metrics`.",
    ),
)

_HEAD = """\
# Metrics

Made by `make docs` from the tables that the program itself goes by; a test compares them.

*Exposed* metrics are on `/metrics`; *local* ones are answered by the query API alone, which has the exposed ones too.
What a platform or our permissions do not give is no series, never a zero: `prom_probe_source_readable` is 0 then, and
`prom-probe doctor` says why and what to change. A histogram has the series `_bucket`, `_sum` and `_count`.
"""
_COLUMNS = ("name", "type", "unit", "labels", "exposed or local", "platforms", "source", "definition")


def render(definitions: Iterable[Definition]) -> str:
    """The page. Families stand under the section of their prefix, in the order in which they come."""
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
                section.shown,
                definition.platforms,
                definition.source,
                f"{family.help} {definition.definition}",
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


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def page() -> str:
    """docs/metrics.md as it should be."""
    return render(chain(DEFINITIONS, OWN, REPORT))


def main() -> None:
    """Write the page to the file that is named, or to standard output."""
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as stream:
            stream.write(page())
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
