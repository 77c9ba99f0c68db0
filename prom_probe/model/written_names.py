"""The names that a family's samples are written under, by which two families on one page clash."""

import re
from collections.abc import Mapping

from prom_probe.model.family import Family
from prom_probe.model.labels import METRIC_NAME, Labels

CREATED = "_created"

# The label in which the series of one metric differ, beside their names.
_WITHIN = {"histogram": "le", "summary": "quantile"}

# What a family's samples add to its name. No other family may have these names, or its own.
ENDINGS: dict[str, tuple[str, ...]] = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_PARTS = tuple(dict.fromkeys(ending for endings in ENDINGS.values() for ending in endings))

_UNCLASSIC = re.compile(r"[^a-zA-Z0-9_:]|^[0-9]")


def underscored(name: str) -> str:
    """A name for clients that do not read UTF-8 names."""
    return _UNCLASSIC.sub("_", name)


def metric_name(family: Family) -> str:
    """The name that OpenMetrics gives metrics that may have a time of creation; "" for other metrics."""
    if family.type == "counter":
        return family.name.removesuffix("_total") if family.name.endswith("_total") else ""
    return family.name if family.type in ENDINGS else ""


def created_metric(family: Family) -> str:
    """The name of the metrics whose times of creation a family may tell; "" for a family that tells none."""
    return family.name.removesuffix(CREATED) if family.type == "gauge" and family.name.endswith(CREATED) else ""


def metric_labels(family: Family, labels: Labels) -> Labels:
    """The labels that all series of one metric have, given those of one of its series."""
    within = _WITHIN.get(family.type)
    return tuple(pair for pair in labels if pair[0] not in (METRIC_NAME, within))


def written_names(family: Family) -> tuple[str, ...]:
    """All names that the text format reserves for a family."""
    return (family.name, *(family.name + ending for ending in ENDINGS.get(family.type, ())))


def find_family(name: str, families: Mapping[str, Family]) -> Family | None:
    """The family of a series with this name, which may be that of a part."""
    found = families.get(name)
    for part in _PARTS:
        found = found or families.get(name.removesuffix(part))
    return found
