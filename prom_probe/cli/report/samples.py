"""The samples that a report has: raw, of everything that the page shows, read from a source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prom_probe.cli.answer import AnswerSeries, read_answer
from prom_probe.cli.source import Source
from prom_probe.promql.literals import quote

# Of a source's answer: a query over an hour of one metric stays within any API's limits.
_SLICE_S = 3600

_MS = 1000


class ReportMetric(NamedTuple):
    """A metric of a report. Its values are kept as multiples of 1 / `per_unit`.

    Series with the same labels `by` become one: counters add up, of gauges the greatest counts.
    """

    name: str
    by: tuple[str, ...] = ()
    per_unit: int = 1
    counter: bool = False
    of_tree: bool = True


_PID = ("pid",)

# fmt: off
METRICS = (
    ReportMetric("proctree_resident_memory_bytes"),
    ReportMetric("proctree_resident_memory_max_bytes"),
    ReportMetric("cgroup_memory_limit_effective_bytes"),
    ReportMetric("proctree_cpu_seconds_total", per_unit=1000, counter=True),
    ReportMetric("cgroup_cpus_effective", per_unit=1000),
    ReportMetric("proctree_io_read_bytes_total", counter=True),
    ReportMetric("proctree_io_write_bytes_total", counter=True),
    ReportMetric("proctree_processes"),
    ReportMetric("proctree_threads"),
    ReportMetric("proctree_open_fds"),
    ReportMetric("proctree_cpu_waiting_seconds_total", per_unit=1000, counter=True),
    ReportMetric("cgroup_cpu_throttled_seconds_total", per_unit=1000, counter=True),
    ReportMetric("cgroup_pressure_cpu_waiting_seconds_total", per_unit=1000, counter=True),
    ReportMetric("cgroup_pressure_memory_waiting_seconds_total", per_unit=1000, counter=True),
    ReportMetric("cgroup_pressure_io_waiting_seconds_total", per_unit=1000, counter=True),
    ReportMetric("gpu_utilization_ratio", by=("uuid",), per_unit=1000, of_tree=False),
    ReportMetric("gpu_memory_used_bytes", by=("uuid",), of_tree=False),
    ReportMetric("proctree_process_resident_memory_bytes", by=_PID),
    ReportMetric("proctree_process_cpu_seconds_total", by=_PID, per_unit=200, counter=True),
    ReportMetric("proctree_process_threads", by=_PID),
    ReportMetric("proctree_process_io_read_bytes_total", by=_PID, counter=True),
    ReportMetric("proctree_process_io_write_bytes_total", by=_PID, counter=True),
)
# fmt: on


class ReportSeries(NamedTuple):
    """`label`: the value of the label by which the metric's series are told apart, "" without one.

    `times_ms` ascend; `values` are as the metric has them.
    """

    metric: ReportMetric
    tree: str
    label: str
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


def read_samples(source: Source, trees: Sequence[str], start_s: float, end_s: float) -> Iterator[ReportSeries]:
    """All series with samples from `start_s` to `end_s`, by metric. Raises ClientError."""
    for metric in METRICS:
        for tree in trees if metric.of_tree else ("",):
            collected: dict[str, dict[int, float]] = {}
            for series in _ask(source, metric, tree, start_s, end_s):
                label = ",".join(series.labels.get(name, "") for name in metric.by)
                _add(collected.setdefault(label, {}), series, metric.counter)
            for label, samples in collected.items():
                times = np.array(sorted(samples), np.int64)
                if len(times):
                    yield ReportSeries(metric, tree, label, times, np.array([samples[t] for t in times.tolist()]))


def _ask(source: Source, metric: ReportMetric, tree: str, start_s: float, end_s: float) -> Iterator[AnswerSeries]:
    selector = f"{metric.name}{{tree={quote(tree)}}}" if metric.of_tree else metric.name
    at_s = start_s
    while at_s < end_s:
        to_s = min(at_s + _SLICE_S, end_s)
        # A range selector leaves out what is exactly at its beginning.
        range_ms = round((to_s - at_s) * _MS) + (at_s == start_s)
        yield from read_answer(source.query(f"{selector}[{range_ms}ms]", to_s)).series
        at_s = to_s


def _add(samples: dict[int, float], series: AnswerSeries, counter: bool) -> None:
    for t, text in series.points:
        value = float(text)
        if math.isfinite(value):
            t_ms = round(t * _MS)
            before = samples.get(t_ms)
            samples[t_ms] = value if before is None else before + value if counter else max(before, value)
