"""Which scraped series `/metrics` shows, and with which labels."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from prom_probe.collectors.scrape.page import PageSeries
from prom_probe.model.family import Family
from prom_probe.model.labels import METRIC_NAME, Labels, label_value
from prom_probe.model.written_names import CREATED, ENDINGS, created_metric, underscored, written_names

# Prefixes of our own metrics: another program's metric that has one could be mistaken for ours.
_OURS = ("proctree_", "cgroup_", "system_", "gpu_", "prom_probe_")

# What the scraper that reads `/metrics` gives each series itself.
_HIDDEN = ("job", "instance")

# Who a written name belongs to: a family's name and kind. Plain families of one name may have several types: they are
# shown as one of unknown type.
_Owner: TypeAlias = tuple[str, str]


class Shown(NamedTuple):
    """A series as `/metrics` shows it. `whole`: in all formats, not in those with UTF-8 names alone."""

    labels: Labels
    whole: bool


class _Users(NamedTuple):
    """The targets that show a family, as (job, instance)."""

    targets: frozenset[tuple[str, str]]

    @property
    def kept(self) -> tuple[str, ...]:
        """The labels without which the targets' series could be taken for each other's."""
        if len(self.targets) < 2:
            return ()
        return ("job",) if len({job for job, _ in self.targets}) == len(self.targets) else ("job", "instance")


class Exposed:
    """The choice of `--scrape.expose`, shared by all targets; any thread may call.

    A family that only one target has is shown without `job` and `instance`. Once a second target has it too, the series
    of both keep `job` for the rest of the run (and `instance`, where they have the same job), and `version` changes.
    Names belong to the family that was first written under them: what would make the page invalid is left out.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """`patterns` match the whole name of a family or of its samples."""
        self.version = 0
        self._pattern = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
        self._lock = threading.Lock()
        self._users: dict[str, _Users] = {}
        self._owners: dict[str, _Owner] = {}
        self._underscored: dict[str, _Owner] = {}

    def wants(self, series: PageSeries) -> bool:
        """Whether the series is chosen."""
        fits = None if self._pattern is None else self._pattern.fullmatch
        return fits is not None and (fits(series.name) is not None or fits(series.family.name) is not None)

    def maybe_shown(self, series: PageSeries, own: dict[str, str]) -> Shown | None:
        """A chosen series of the target whose labels are `own`; None where it cannot be on `/metrics`."""
        family = series.family
        names = dict.fromkeys((*written_names(family), series.name))
        if any(underscored(name).startswith(_OURS) for name in names) or not _is_valid(series):
            return None
        owner = (family.name, _kind(family))
        claims = dict.fromkeys(names, owner) | _created(family)
        target = own.get("job", ""), own.get("instance", "")
        with self._lock:
            if not _claim(self._owners, claims):
                return None
            whole = _claim(self._underscored, {underscored(name): owner for name, owner in claims.items()})
            users = before = self._users.get(family.name, _Users(frozenset()))
            if target not in users.targets:
                users = self._users[family.name] = _Users(users.targets | {target})
                self.version += before.kept != users.kept
        labels = _without(series.labels, {key: own.get(key, "") for key in _HIDDEN if key not in users.kept})
        return Shown(labels, whole and not _has_equal_names(series.labels))


def _without(labels: Labels, own: dict[str, str]) -> Labels:
    """The labels without the target's `own`; what they have renamed has its name in the page again."""
    pairs = {key: value for key, value in labels if key not in own or value != own[key]}
    for key in own:
        if key not in pairs and (value := pairs.pop(f"exported_{key}", "")):
            pairs[key] = value
    return tuple(sorted(pairs.items()))


def _kind(family: Family) -> str:
    """What may not share a name with another kind."""
    if family.type in ENDINGS:
        return family.type
    return "created" if created_metric(family) else "plain"


def _created(family: Family) -> dict[str, _Owner]:
    """The name of the series that OpenMetrics counts among a histogram's or summary's, and who may have it."""
    name = family.name + CREATED
    return {name: (name, "created")} if family.type in ENDINGS else {}


def _claim(owners: dict[str, _Owner], claims: dict[str, _Owner]) -> bool:
    """Give names to their owners, all or none; whether that was possible."""
    if any(owners.get(name, owner) != owner for name, owner in claims.items()):
        return False
    owners.update(claims)
    return True


def _has_equal_names(labels: Labels) -> bool:
    """Whether two labels have the same name where UTF-8 is not read."""
    return len({underscored(name) for name, _ in labels}) < len(labels)


# -- what parsers take as a part of a family: by the ending of its name


def _is_bound(text: str) -> bool:
    return _number(text) is not None


def _is_quantile(text: str) -> bool:
    number = _number(text)
    return number is not None and 0 <= number <= 1


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


# (the family's type, the ending) -> the label that such a sample has, and what its value must be.
_PARTS: dict[tuple[str, str], tuple[str, Callable[[str], bool]] | None] = {
    ("histogram", "_bucket"): ("le", _is_bound),
    ("histogram", "_sum"): None,
    ("histogram", "_count"): None,
    ("summary", ""): ("quantile", _is_quantile),
    ("summary", "_sum"): None,
    ("summary", "_count"): None,
}


def _is_valid(series: PageSeries) -> bool:
    """Whether every parser takes the series as a sample of its family."""
    if any(key.startswith("__") and key != METRIC_NAME for key, _ in series.labels):
        return False
    kind = series.family.type
    if kind not in ENDINGS:
        return True
    part = kind, series.name.removeprefix(series.family.name)
    if part not in _PARTS:
        return False
    needs = _PARTS[part]
    return needs is None or needs[1](label_value(series.labels, needs[0]))
