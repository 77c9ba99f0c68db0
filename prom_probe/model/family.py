"""Metric families, and columns: the series of a collector, with their labels and whether `/metrics` shows them."""

from typing import Literal, NamedTuple

import msgspec

from prom_probe.model.labels import EMPTY, Labels, make_labels

MetricType = Literal["counter", "gauge", "histogram", "summary", "info", "unknown"]


class CounterStart(NamedTuple):
    """The gauge that tells when a counter was at zero, unix time in seconds.

    Its series stands in the counter's row and has the counter's labels but those in `without`.
    """

    gauge: str
    without: tuple[str, ...] = ()


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric family. `unit` is the OpenMetrics unit ("seconds", "bytes", "ratio") or "" if there is none.

    `detail`: of what we tell of ourselves, it is not among the few series that a fleet needs. `start`: of a counter,
    None where nothing tells when it began.
    """

    name: str
    type: MetricType
    help: str
    unit: str = ""
    detail: bool = False
    start: CounterStart | None = None


class Column(msgspec.Struct, frozen=True, array_like=True):
    """One series of a collector: its family, its full labels, and whether it is exposed on `/metrics`.

    `labels` has `__name__`, which differs from `family.name` for the parts of a histogram (`x_bucket`, `x_sum`).
    A column that is not exposed is *local*: only the query API shows it. `/metrics` shows `labels`, or
    `shown` if that is not empty. Of the series that have ended, the store's cap evicts those that are `lasting` last.
    """

    family: Family
    labels: Labels
    exposed: bool = True
    shown: Labels = EMPTY
    lasting: bool = False


def column(family: Family, *, exposed: bool = True, **labels: str) -> Column:
    """The column of `family` with these labels."""
    return Column(family, make_labels(family.name, labels), exposed)
