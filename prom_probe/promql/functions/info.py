"""info(): adds the labels of info metrics, such as target_info, to the series that have the same instance and job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from prom_probe.model.labels import METRIC_NAME, Labels, format_labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import compile_anchored
from prom_probe.promql.ast import Call, Selector, Type
from prom_probe.promql.functions.base import Function
from prom_probe.promql.query import Evaluation
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import LABELS_BYTES, Bools, Ints, Value, Vector, empty, merged

_IDENTIFYING = ("instance", "job")
_DEFAULT_NAME = Matcher(METRIC_NAME, "=", "target_info")
_ANY_INFO = Matcher(METRIC_NAME, "=~", ".+_info")


@dataclass(slots=True)
class _Wanted:
    """What the second argument asks for: the info metrics' names, and their labels."""

    names: list[Matcher]
    labels: list[Matcher]

    def is_info(self, series: Labels) -> bool:
        name = label_value(series, METRIC_NAME)
        return all(_matches(matcher, name) for matcher in self.names)

    def takes(self, name: str) -> bool:
        """Whether label `name` of an info metric is added."""
        return name != METRIC_NAME and (not self.labels or any(matcher.name == name for matcher in self.labels))

    @property
    def optional(self) -> bool:
        """Whether series without any info metric are kept."""
        return all(_matches(matcher, "") for matcher in self.labels)


@dataclass(slots=True)
class _Chosen:
    """The info series of one metric name and identity that counts at each step: its row, -1 for none; [steps]."""

    row: Ints
    t: Ints = field(default_factory=lambda: np.empty(0, np.int64))  # ms


def _wanted(node: Call) -> _Wanted:
    selector = node.args[1] if len(node.args) > 1 else None
    matchers = selector.matchers if isinstance(selector, Selector) else ()
    names = [matcher for matcher in matchers if matcher.name == METRIC_NAME]
    if not names:
        names = [_DEFAULT_NAME]
    elif all(matcher.op in ("!=", "!~") for matcher in names):
        names.append(_ANY_INFO)
    return _Wanted(names, [matcher for matcher in matchers if matcher.name != METRIC_NAME])


def _matches(matcher: Matcher, value: str) -> bool:
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return compile_anchored(matcher.value).matches(value) == (matcher.op == "=~")


def _identity(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] in _IDENTIFYING)


def _newest(ev: Evaluation, infos: Vector) -> dict[Labels, dict[str, _Chosen]]:
    """By identity and name, the info series with the newest sample at each step."""
    chosen: dict[Labels, dict[str, _Chosen]] = defaultdict(dict)
    times = np.rint(infos.values * 1000).astype(np.int64)
    for row, labels in enumerate(infos.labels):
        identity = _identity(labels)
        if not identity:
            continue
        ev.query.budget.hold(17 * ev.steps)
        place = chosen[identity].setdefault(
            label_value(labels, METRIC_NAME), _Chosen(np.full(ev.steps, -1), np.zeros(ev.steps, np.int64))
        )
        here, taken = infos.present[row], place.row >= 0
        both = np.flatnonzero(here & taken & (times[row] == place.t))
        if len(both):
            step = int(both[0])
            other = format_labels(infos.labels[int(place.row[step])])
            t_ms = int(times[row, step])
            raise QueryError(
                "execution",
                f"found duplicate series for info metric: existing {other} @ {t_ms},"
                f" new {format_labels(labels)} @ {t_ms}",
            )
        newer = here & (~taken | (times[row] > place.t))
        place.row[newer] = row
        place.t[newer] = times[row, newer]
    return chosen


def _stretches(ev: Evaluation, chosen: Sequence[_Chosen]) -> Iterator[tuple[list[int], Bools]]:
    """The combinations of info series that there are, and the steps of each."""
    rows, inverse = np.unique(np.stack([each.row for each in chosen]), axis=1, return_inverse=True)
    for i, combination in enumerate(rows.T.tolist()):
        yield [row for row in combination if row >= 0], inverse.reshape(-1) == i


def _enriched(labels: Labels, infos: Sequence[Labels], wanted: _Wanted) -> Labels:
    """`labels` with those of the info series; its own win."""
    own, added = dict(labels), dict[str, str]()
    for info in infos:
        for name, value in info:
            if wanted.takes(name):
                if added.get(name, value) != value:
                    raise QueryError("execution", f"conflicting label: {name}")
                if name not in own:
                    added[name] = value
    return make_labels("", {**added, **own})


def _info(ev: Evaluation, node: Call) -> Value:
    base, wanted = ev.vector(node.args[0]), _wanted(node)
    infos = ev.timestamps(Selector((*wanted.names, *wanted.labels), node.start))
    chosen = _newest(ev, infos)
    labels, rows, masks = [], [], []
    for row, series in enumerate(base.labels):
        ev.query.budget.check()
        places = [] if wanted.is_info(series) else [at for _, at in sorted(chosen.get(_identity(series), {}).items())]
        if not places:
            if wanted.optional or wanted.is_info(series):
                labels.append(series)
                rows.append(row)
                masks.append(base.present[row])
            continue
        for found, steps in _stretches(ev, places):
            if found or wanted.optional:
                ev.query.budget.hold(LABELS_BYTES + 10 * ev.steps)
                labels.append(_enriched(series, [infos.labels[i] for i in found], wanted))
                rows.append(row)
                masks.append(base.present[row] & steps)
    if not rows:
        return empty(ev.steps)
    return merged(Vector(labels, base.values[rows], np.stack(masks), [base.drop[i] for i in rows]), ev.query.budget)


INFO = {"info": Function(_info, (Type.VECTOR, Type.VECTOR), optional=1, experimental=True)}
