"""`prom-probe once`: collects twice in this process, an interval apart, and prints what `run` would serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from prom_probe.cli.settings_flags import read_settings, settings_flags, settings_source
from prom_probe.config.planned_target import plan_targets
from prom_probe.config.settings import Config
from prom_probe.config.units import human_value
from prom_probe.log import Log, describe_error
from prom_probe.model.family import Column
from prom_probe.model.labels import METRIC_NAME, format_labels
from prom_probe.model.printable import printable, printable_json
from prom_probe.model.sample import is_stale

if TYPE_CHECKING:
    from prom_probe.collectors.base import Collector


# As with `serve`, the other settings are accepted and not shown.
_USED = ("watch", "interval", "collect.", "gpu", "scrape", "path.", "log.format")


@click.command()
@partial(settings_flags, shown=_USED)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object for each series.")
def once(as_json: bool, **flags: Any) -> None:
    """Collect twice, an interval apart, print the values and what changed, and exit."""
    config = read_settings(settings_source(flags))
    log = Log("warn", config.log_format, "once")
    readings = collect_once(_make_collectors(config, log), config.interval, log)
    click.echo(render_json(readings) if as_json else render_table(readings))


class OnceReading(NamedTuple):
    """A series: its newest value and, for a counter, its increase per second since the collection before."""

    column: Column
    value: float
    rate: float | None


def collect_once(
    collectors: Sequence[Collector], interval_s: float, log: Callable[[str, str], None]
) -> list[OnceReading]:
    """All series of all collectors, in the collectors' order. One that fails has none, and a line in the log."""
    # A process that has not yet executed its program is found by the third collection: do the first two at once.
    working = [collector for collector in collectors if _collects(collector, log) and _collects(collector, log)]
    start = time.monotonic()
    before: dict[tuple[tuple[str, str], ...], float] = {}
    for collector in working:
        before |= {c.labels: v for c, v in zip(collector.layout.columns, collector.layout.row, strict=True)}
    time.sleep(interval_s)
    readings = []
    for collector in working:
        if not _collects(collector, log):
            continue
        elapsed = time.monotonic() - start
        for column, value in zip(collector.layout.columns, collector.layout.row, strict=True):
            if is_stale(value):
                continue
            earlier = before.get(column.labels)
            known = column.family.type == "counter" and earlier is not None and not is_stale(earlier)
            readings.append(
                OnceReading(column, value, (value - earlier) / elapsed if known and earlier is not None else None)
            )
    for collector in collectors:
        collector.close()
    return readings


def _collects(collector: Collector, log: Callable[[str, str], None]) -> bool:
    """Collect; False if that fails."""
    try:
        collector.collect()
    except Exception as error:
        log("error", f"collector {collector.name} failed: {describe_error(error)}")
        return False
    return True


def _make_collectors(config: Config, log: Log) -> list[Collector]:
    """The collectors that `run` would have with these settings, but the one of its own workers."""
    from prom_probe.collectors.registry import COLLECTORS
    from prom_probe.run.collector_context import once_context
    from prom_probe.run.probes import active_collectors

    context = once_context(config, log)
    targets = {target.name: target for target in _make_targets(config, log)}
    names = (name for name in active_collectors(config) if name != "workers")
    return [targets[name] if name in targets else COLLECTORS[name](context) for name in names]


def _make_targets(config: Config, log: Log) -> Sequence[Collector]:
    if not plan_targets(config):
        return ()
    from prom_probe.probe.scraper import make_collectors

    return make_collectors(config, log)


def render_json(readings: list[OnceReading]) -> str:
    """A JSON array of series: name, type, unit, labels, value, and per_second for counters."""
    rows = []
    for reading in readings:
        family = reading.column.family
        labels = {k: v for k, v in reading.column.labels if k != METRIC_NAME}
        row = {"name": family.name, "type": family.type, "unit": family.unit, "labels": labels, "value": reading.value}
        if reading.rate is not None:
            row["per_second"] = reading.rate
        rows.append(row)
    return printable_json(msgspec.json.format(msgspec.json.encode(rows)).decode())


def render_table(readings: list[OnceReading]) -> str:
    """Three columns: series, value, increase per second."""
    rows = [("SERIES", "VALUE", "PER SECOND")]
    for reading in readings:
        rate = "" if reading.rate is None else human_value(reading.rate, reading.column.family.unit)
        rows.append(
            (
                printable(format_labels(reading.column.labels)),
                human_value(reading.value, reading.column.family.unit),
                rate,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows)
