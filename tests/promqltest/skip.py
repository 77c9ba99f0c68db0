"""The one rule by which a case is skipped: native histograms, and experimental features that we do not have."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prom_probe.model.labels import METRIC_NAME, Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import compile_anchored
from prom_probe.promql.parser import parse, selectors
from prom_probe.promql.result import QueryError
from tests.promqltest.script import NATIVE, Eval, Load

# What limit_ratio selects depends on Prometheus's own hash.
_CHOICE = "experimental aggregation"
_FEATURES = {
    _CHOICE: r"\blimit_ratio\b",
    "experimental modifier": r"\b(?:anchored|smoothed)\b|\bfill(?:_left|_right)?\s*\(",
    "operator of native histograms": r"</|>/",
}
_PATTERNS = [(reason, re.compile(pattern)) for reason, pattern in _FEATURES.items()]


def native_series(load: Load) -> list[Labels]:
    """The series of a load that are native histograms, those included that load_with_nhcb makes of classic ones."""
    found = [labels for labels, points in load.series.items() if NATIVE in points]
    if load.nhcb:
        for labels in load.series:
            name = label_value(labels, METRIC_NAME)
            if name.endswith("_bucket"):
                pairs = {key: value for key, value in labels if key not in (METRIC_NAME, "le")}
                found.append(make_labels(name.removesuffix("_bucket"), pairs))
    return found


def why_skipped(command: Eval, native: Iterable[Labels]) -> str:
    """Why a case is skipped; "" if it is not."""
    if any(NATIVE in points for _, points in command.rows):
        return "native histogram expected"
    plain = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`", '""', command.expr)
    for reason, pattern in _PATTERNS:
        if pattern.search(plain) and not (reason == _CHOICE and command.expects("fail")):
            return reason
    try:
        asked = selectors(parse(command.expr))
    except QueryError:
        return ""
    for labels in native:
        if any(all(_matches(matcher, labels) for matcher in selector.matchers) for selector in asked):
            return "native histogram selected"
    return ""


def _matches(matcher: Matcher, labels: Labels) -> bool:
    value = label_value(labels, matcher.name)
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return compile_anchored(matcher.value).matches(value) == (matcher.op == "=~")
