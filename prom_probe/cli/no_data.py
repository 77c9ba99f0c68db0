"""Why a query found nothing: what is stored, and which metrics have names like those asked for."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from prom_probe.cli.clock import format_time
from prom_probe.cli.error import ClientError
from prom_probe.cli.source import Source
from prom_probe.model.labels import METRIC_NAME

_MOST_NAMES = 3
_LEAST_PART = 4  # characters: "up" is in every "cgroup"


def explain(source: Source, expr: str, *, utc: bool = False) -> list[str]:
    """A line for the stored range, and one for each metric that is not there; what cannot be found out is left out."""
    lines = []
    try:
        if span := source.stored_span():
            first, last = (format_time(each, utc=utc, milliseconds=False) for each in span)
            lines.append(f"there are samples from {first} to {last}")
        lines += _unknown_names(expr, source.metric_names())
    except ClientError:
        pass  # an API that does not tell
    return lines


def _unknown_names(expr: str, known: list[str]) -> Iterator[str]:
    for name in _names(expr):
        if name not in known:
            near = get_close_matches(name, known, n=_MOST_NAMES, cutoff=0.5)
            within = [other for other in known if name in other] if len(name) >= _LEAST_PART else []
            near += [other for other in within if other not in near][: _MOST_NAMES - len(near)]
            yield f"there is no metric {name}" + (f": did you mean {' or '.join(near)}?" if near else "")


def _names(expr: str) -> list[str]:
    from prom_probe.promql.parser import parse, selectors
    from prom_probe.promql.result import QueryError

    try:
        found = [matcher for selector in selectors(parse(expr)) for matcher in selector.matchers]
    except QueryError:
        return []
    return list(dict.fromkeys(matcher.value for matcher in found if (matcher.name, matcher.op) == (METRIC_NAME, "=")))
