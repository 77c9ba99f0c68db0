"""What a range query whose step is our choice shows of the time between two rows."""

from __future__ import annotations

import re

from prom_probe.cli.span import Span
from prom_probe.config.units import format_duration
from prom_probe.model.labels import METRIC_NAME

# Prometheus refuses a range query with more.
_MAX_POINTS = 11_000


def largest_of_each_step(expr: str, span: Span) -> str | None:
    """An expression whose rows are the largest values of their steps, if `expr` is a selector with one metric name.

    Where a step has no sample, the row is that of `expr`. None for any other expression.
    """
    from prom_probe.promql.parser import parse_selector
    from prom_probe.promql.result import QueryError
    from prom_probe.promql.syntax import written

    try:
        names = [matcher.value for matcher in parse_selector(expr) if (matcher.name, matcher.op) == (METRIC_NAME, "=")]
    except QueryError:
        return None
    if len(names) != 1 or not re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", names[0]):
        return None
    selector = written(expr).text
    largest = f"max_over_time({selector}[{format_duration(span.step_s)}])"
    return f'label_replace({largest}, "{METRIC_NAME}", "{names[0]}", "", "") or {selector}'


def describe_rows(span: Span, largest: bool) -> str:
    """One line about the rows of a query whose step is longer than a second."""
    step, span_s = format_duration(span.step_s), span.end_s - (span.start_s or 0.0)
    what = "with the largest value since the row before" if largest else "with the value of that moment alone"
    every = "--step=1s shows" if span_s <= _MAX_POINTS else "a shorter range with --step=1s shows"
    return f"a row every {step}, {what}; {every} every second"
