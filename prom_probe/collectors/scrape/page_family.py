"""Which family a page's sample belongs to, as the text format would describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from prom_probe.model.family import Family, MetricType

# Endings that a sample's name adds to its family's: of the families that have several names, with their types; of those
# whose only name has the ending in the text format.
_PARTS: dict[str, tuple[MetricType, ...]] = {
    "_bucket": ("histogram",),
    "_sum": ("histogram", "summary"),
    "_count": ("histogram", "summary"),
}
_ENDINGS: dict[str, MetricType] = {"_total": "counter", "_info": "info"}


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
    for ending, types in _PARTS.items():  # a part of a histogram is one even if it has a type of its own
        base = name.removesuffix(ending)
        found = families.get(base)
        if base != name and found is not None and found.type in types:
            return Family(base, *found)
    found = families.get(name)
    if found is not None:
        return Family(name, *found)
    for ending, kind in _ENDINGS.items():
        found = families.get(name.removesuffix(ending))
        if found is not None and found.type == kind:
            return Family(name, *found)
    found = families.get(name.removesuffix("_created"))
    return Family(name, "gauge", found.help) if found is not None else Family(name, "unknown", "")
