"""The labels of a target's series: its own, those of the page, relabelling, and limits, in Prometheus's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prom_probe.collectors.scrape.exposition_error import ExpositionError
from prom_probe.model.labels import METRIC_NAME, Labels, make_labels
from prom_probe.model.relabel import Relabeller

_SHOWN = 50  # characters of a name in an error


class LabelLimits(NamedTuple):
    """What the labels of a series may have, `__name__` included; 0 is no limit."""

    labels: int = 0
    name_bytes: int = 0
    value_bytes: int = 0


_NO_LIMITS = LabelLimits()


class TargetLabels:
    """Makes the labels of each series of one target; any thread may call.

    `own` are the target's labels. Where a page has one of the same name, that becomes `exported_…`, or wins with
    `honor_labels`.
    """

    def __init__(
        self,
        own: Mapping[str, str],
        *,
        honor_labels: bool = False,
        relabeller: Relabeller | None = None,
        limits: LabelLimits = _NO_LIMITS,
    ) -> None:
        self.own = dict(own)
        self._honor_labels = honor_labels
        self._relabeller = relabeller
        self._limits = limits

    def finish(self, name: str, pairs: Sequence[tuple[str, str]]) -> Labels | None:
        """The labels of a series that a page has with these, sorted; None where relabelling drops it.

        Raises ExpositionError if there can be no such series, or if it has more than the limits allow.
        """
        found = [(METRIC_NAME, name), *pairs]
        empty = {key for key, value in found if not value}
        labels = {key: value for key, value in found if key not in empty}
        if len(labels) + sum(key in empty for key, _ in found) < len(found):
            raise ExpositionError("parse", f"two labels of {name[:_SHOWN]!r} have the same name")
        if self._honor_labels:
            labels = {key: value for key, value in self.own.items() if key not in empty} | labels
        else:
            labels = attached(labels, self.own)
        merged: Labels | None = tuple(sorted((key, value) for key, value in labels.items() if value))
        if self._relabeller is not None and merged is not None:
            merged = self._relabeller.apply(merged)
        if not merged:
            return None
        self._check(merged)
        return merged

    def report(self, name: str) -> Labels:
        """The labels of a series about the target: it has no others."""
        return make_labels(name, self.own)

    def _check(self, labels: Labels) -> None:
        limits, name = self._limits, dict(labels).get(METRIC_NAME, "")
        if not name or any(not key for key, _ in labels):
            raise ExpositionError("parse", "a series without a name" if not name else "a label without a name")
        if 0 < limits.labels < len(labels):
            raise ExpositionError("labels", f"{len(labels)} labels of {name[:_SHOWN]!r}, more than {limits.labels}")
        for key, value in labels:
            for what, text, limit in (("name", key, limits.name_bytes), ("value", value, limits.value_bytes)):
                if limit and (length := len(text.encode())) > limit:
                    label = f"the label {key[:_SHOWN]!r} of {name[:_SHOWN]!r}"
                    raise ExpositionError("labels", f"{label}: its {what} has {length} bytes, more than {limit}")


def attached(labels: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """A page's labels and the target's `own`; a page's label of the same name becomes `exported_...`."""
    merged = {key: value for key, value in labels.items() if key not in own}
    for key in sorted((key for key in own if key in labels), key=len):
        name = f"exported_{key}"
        while name in labels or name in own or name in merged:
            name = f"exported_{name}"
        merged[name] = labels[key]
    return merged | dict(own)
