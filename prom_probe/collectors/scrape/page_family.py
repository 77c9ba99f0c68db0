"""Which family a page's sample belongs to, as the text format would describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from prom_probe.model.family import Family, MetricType

# Endings that a sample's name adds to its family's: the types of such families, and whether one has several names.
_ENDINGS: dict[str, tuple[tuple[MetricType, ...], bool]] = {
    "_bucket": (("histogram",), True),
    "_sum": (("histogram", "summary"), True),
    "_count": (("histogram", "summary"), True),
    "_total": (("counter",), False),
    "_info": (("info",), False),
}


class FamilyText(NamedTuple):
    """What a page says of a family."""

    type: MetricType = "unknown"
    help: str = ""
    unit: str = ""


def family_of(name: str, final_name: str, families: Mapping[str, FamilyText]) -> Family:
    """The family of the samples called `name` in the page, which relabelling calls `final_name`."""
    found = _described(name, families)
    if final_name == name:
        return found
    # A part of a histogram is one only beside the others.
    return Family(final_name, found.type if found.name == name else "unknown", found.help)


def _described(name: str, families: Mapping[str, FamilyText]) -> Family:
    found = families.get(name)
    if found is not None:
        return Family(name, *found)
    for ending, (types, many) in _ENDINGS.items():
        if name.endswith(ending):
            base = name[: -len(ending)]
            found = families.get(base)
            if found is not None and found.type in types:
                return Family(base if many else name, *found)
    found = families.get(name.removesuffix("_created"))
    return Family(name, "gauge", found.help) if found is not None else Family(name, "unknown", "")
