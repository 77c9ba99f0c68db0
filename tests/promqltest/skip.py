"""The one rule by which a case is skipped: it needs what the store does not have, or a feature not there yet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from prom_probe.model.labels import METRIC_NAME, Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import compile_anchored
from prom_probe.promql.parser import parse, selectors
from prom_probe.promql.result import QueryError
from tests.promqltest.script import NATIVE, Eval, Load

_FEATURES = {
    "operator of native histograms": r"</|>/",
}
_HISTOGRAM = "native histogram"
_PATTERNS = [(reason, re.compile(pattern)) for reason, pattern in _FEATURES.items()]


def unstored(load: Load) -> dict[Labels, str]:
    """The series of a load that the store cannot have, and what they are.

    Native histograms, those included that load_with_nhcb makes of classic ones, and start timestamps.
    """
    found = dict.fromkeys(load.started, "start timestamps")
    found |= dict.fromkeys((labels for labels, points in load.series.items() if NATIVE in points), _HISTOGRAM)
    if load.nhcb:
        for labels in load.series:
            name = label_value(labels, METRIC_NAME)
            if name.endswith("_bucket"):
                pairs = {key: value for key, value in labels if key not in (METRIC_NAME, "le")}
                found[make_labels(name.removesuffix("_bucket"), pairs)] = _HISTOGRAM
    return found


def why_skipped(command: Eval, missing: Mapping[Labels, str]) -> str:
    """Why a case is skipped; "" if it is not. `missing`: what was loaded and is not in the store."""
    if any(NATIVE in points for _, points in command.rows):
        return "native histogram expected"
    plain = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`", '""', command.expr)
    for reason, pattern in _PATTERNS:
        if pattern.search(plain):
            return reason
    try:
        asked = selectors(parse(command.expr))
    except QueryError:
        return ""
    for labels, what in missing.items():
        if any(all(_matches(matcher, labels) for matcher in selector.matchers) for selector in asked):
            return f"{what} selected"
    return ""


def _matches(matcher: Matcher, labels: Labels) -> bool:
    value = label_value(labels, matcher.name)
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return compile_anchored(matcher.value).matches(value) == (matcher.op == "=~")
