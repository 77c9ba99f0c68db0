"""`/api/v1/status/self_metrics`: our own metrics in the JSON form of protocol buffers' `io.prometheus.client`.

Numbers of 64 bits are strings there, as are infinities and NaN (ProtoJSON). The bucket `+Inf` is left out: it is the
count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.regex import RegexError, compile_anchored
from prom_probe.model.sample import is_stale
from prom_probe.model.series import Newest
from prom_probe.web.api.params import parameters_of
from prom_probe.web.api.reply import invalid, success
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request

_OURS = "prom_probe_"
_TYPES = {"counter": "COUNTER", "gauge": "GAUGE", "histogram": "HISTOGRAM", "info": "GAUGE"}

# The samples of one family: name, labels without the name, value.
_Samples = list[tuple[str, dict[str, str], float]]


def self_metrics(context: AppContext, request: Request) -> Answer:
    """Those that have a value now, by name; of names that match `metric_name_pattern`, if it is given."""
    pattern = parameters_of(request).get("metric_name_pattern")
    scraped = context.about.targets()
    rows = [row for row in context.store.newest() if row.collector not in scraped]

    def job(deadline: float) -> Iterable[bytes]:
        wanted = _matching(pattern, deadline)
        found: dict[str, tuple[Family, _Samples]] = {}
        for column, value in _samples(rows):
            family, labels = column.family, dict(column.labels)
            if family.name.startswith(_OURS) and wanted(family.name):
                found.setdefault(family.name, (family, []))[1].append((labels.pop(METRIC_NAME), labels, value))
        return [success([_told(*found[name]) for name in sorted(found)]).body]

    return context.queries.run(job, context.limits.timeout_s, inline=not pattern)


def _matching(pattern: str, deadline: float) -> Callable[[str], bool]:
    if not pattern:
        return lambda name: True
    try:
        compiled = compile_anchored(pattern)
    except RegexError as error:
        raise invalid("metric_name_pattern", error) from None
    return lambda name: compiled.matches(name, deadline)


def _samples(rows: Sequence[Newest]) -> Iterator[tuple[Column, float]]:
    for row in rows:
        for column, value in zip(row.columns, memoryview(row.payload).cast("d"), strict=False):
            if not is_stale(value):
                yield column, value


def _told(family: Family, samples: _Samples) -> dict[str, object]:
    """A MetricFamily."""
    kind = _TYPES.get(family.type, "UNTYPED")
    if kind == "HISTOGRAM":
        metrics = _histograms(family.name, samples)
    else:
        metrics = [{"label": _pairs(labels), kind.lower(): {"value": _number(v)}} for _, labels, v in samples]
    return {"name": family.name, "help": family.help, "type": kind, "metric": metrics}


def _histograms(name: str, samples: _Samples) -> list[dict[str, object]]:
    """Each with its buckets, which are told in their order."""
    found: dict[tuple[tuple[str, str], ...], dict[str, object]] = {}
    buckets: dict[tuple[tuple[str, str], ...], list[dict[str, object]]] = {}
    for sample, labels, value in samples:
        bound, key = labels.pop("le", ""), tuple(labels.items())
        histogram = found.setdefault(key, {"bucket": buckets.setdefault(key, [])})
        if sample == f"{name}_count":
            histogram["sampleCount"] = f"{value:.0f}"
        elif sample == f"{name}_sum":
            histogram["sampleSum"] = _number(value)
        elif bound != "+Inf":
            buckets[key].append({"cumulativeCount": f"{value:.0f}", "upperBound": float(bound)})
    return [{"label": _pairs(dict(key)), "histogram": histogram} for key, histogram in found.items()]


def _pairs(labels: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in labels.items()]


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
