"""Which scraped series `/metrics` shows, and with which labels."""

import re
import threading
from collections.abc import Sequence

from prom_probe.collectors.scrape.page import PageSeries
from prom_probe.model.labels import Labels, make_labels

# Prefixes of our own metrics: another program's metric that has one could be mistaken for ours.
_OURS = ("proctree_", "cgroup_", "system_", "gpu_", "prom_probe_")
_UNCLASSIC = re.compile(r"[^a-zA-Z0-9_:]")  # written as an underscore for clients that do not read UTF-8 names


class Exposed:
    """The choice of `--scrape.expose`, shared by all targets; any thread may call.

    A family that only one target has is shown without `job` and `instance`. Once a second target has it too, the series
    of both keep `job` for the rest of the run, and `version` changes.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """`patterns` match the whole name of a family or of its samples."""
        self.version = 0
        self._pattern = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
        self._lock = threading.Lock()
        self._claims: dict[str, str] = {}  # family -> its target, "" for several

    def wants(self, series: PageSeries) -> bool:
        """Whether the series is chosen."""
        fits = None if self._pattern is None else self._pattern.fullmatch
        return fits is not None and (fits(series.name) is not None or fits(series.family.name) is not None)

    def maybe_labels(self, series: PageSeries, target: str, job: str) -> Labels | None:
        """The labels of `target`'s chosen series on `/metrics`; None where its name is one of ours."""
        if any(_UNCLASSIC.sub("_", name).startswith(_OURS) for name in (series.name, series.family.name)):
            return None
        with self._lock:
            claim = self._claims.setdefault(series.family.name, target)
            if claim not in (target, ""):
                self._claims[series.family.name] = ""
                self.version += 1
        if claim == target:
            return make_labels(series.name, series.labels)
        return make_labels(series.name, attached(series.labels, {"job": job}))


def attached(labels: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """A page's labels and the target's `own`; a page's label of the same name becomes `exported_...`."""
    merged = {key: value for key, value in labels.items() if key not in own}
    for key in own:
        if key in labels:
            name = f"exported_{key}"
            while name in labels or name in own or name in merged:
                name = f"exported_{name}"
            merged[name] = labels[key]
    return merged | own
