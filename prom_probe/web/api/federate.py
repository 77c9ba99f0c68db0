"""`/federate`: the newest samples of selected series, with their timestamps, for another Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from math import inf

from prom_probe.exposition.formats import TEXT, TEXT_TYPES, text_series
from prom_probe.model.family import Family
from prom_probe.model.labels import METRIC_NAME, Labels, label_value
from prom_probe.model.sample import is_stale
from prom_probe.model.series import SeriesGroup
from prom_probe.web.api.labels import selectors
from prom_probe.web.api.params import parameters_of
from prom_probe.web.api.reply import ApiError
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request

# Series written at a time.
_SLICE = 256


def federate(context: AppContext, request: Request) -> Answer:
    """The newest sample, within the lookback delta, of every series that some `match[]` selects."""
    params = parameters_of(request)
    lookback_ms = context.limits.lookback_delta_ms
    now = round(context.clock() * 1000)
    snapshot = context.store.snapshot()
    families = {family.name: family for family in context.store.families()}

    def job(deadline: float) -> Iterable[bytes]:
        newest: dict[Labels, tuple[int, float]] = {}
        for matchers in selectors(params):
            for group in snapshot.select(now - lookback_ms + 1, now, matchers, deadline=deadline):
                newest.update(_last(group))
                if time.monotonic() >= deadline:
                    raise ApiError("timeout", "federation timed out")
        return _text(sorted(newest.items(), key=lambda item: (label_value(item[0], METRIC_NAME), item[0])), families)

    timeout_s = min(context.limits.timeout_s, _scraper_timeout_s(request))
    return context.queries.run(job, timeout_s, inline=False, content_type=TEXT.content_type)


def _scraper_timeout_s(request: Request) -> float:
    """How long the scraper will wait, by its own header; infinite where that is absent or nonsense."""
    try:
        stated_s = float(request.headers.get("x-prometheus-scrape-timeout-seconds", ""))
    except ValueError:
        return inf
    return stated_s if stated_s > 0 else inf


def _last(group: SeriesGroup) -> Iterator[tuple[Labels, tuple[int, float]]]:
    """The newest sample of each series that has not ended."""
    import numpy as np

    t_ms = int(group.timestamps[-1])
    newest = group.table.at(np.array([len(group.timestamps) - 1]))
    for labels, value in zip(group.labels, newest[:, 0].tolist(), strict=True):
        if not is_stale(value):
            yield labels, (t_ms, value)


def _text(rows: Sequence[tuple[Labels, tuple[int, float]]], families: dict[str, Family]) -> Iterator[bytes]:
    """Text format 0.0.4 with timestamps. Parts of histograms (`x_bucket`) are untyped, as in Prometheus."""
    from prom_probe.web.api.json_result import number

    name = ""
    lines = []
    for labels, (t_ms, value) in rows:
        metric = label_value(labels, METRIC_NAME)
        if metric != name:
            name = metric
            family = families.get(name)
            known = TEXT_TYPES.get(family.type, family.type) if family else "untyped"
            lines.append(f"# TYPE {name} {known if known not in ('histogram', 'summary') else 'untyped'}\n")
        lines.append(f"{text_series(name, labels)} {number(value)} {t_ms}\n")
        if len(lines) >= _SLICE:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()
