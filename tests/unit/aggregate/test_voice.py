"""What we tell of ourselves on /metrics: the essential series, or all; and how many sources cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from prom_probe.aggregate import families as own
from prom_probe.aggregate.unreadable import UnreadableSources
from prom_probe.model.definition import READABLE, define
from prom_probe.model.family import Column, column
from prom_probe.model.meter import Meter
from prom_probe.model.series import Newest
from tests.support.tsdb_tools import GAUGE, row


@pytest.mark.parametrize("full", [False, True])
def test_details_are_local_unless_they_are_asked_for(full: bool) -> None:
    """Counters and each part of a histogram; what is essential is shown in any case."""
    meter = Meter(shows_detail=full)
    meter.cell(own.BUILD_INFO.family)
    meter.cell(own.RING_USED.family, ring="a")
    meter.histogram(own.INGEST_LATENCY.family, (0.1,))
    assert [column.exposed for column in meter.layout.columns] == [True, *[full] * 5]


def test_only_our_own_metrics_have_details() -> None:
    """Those of a tree or a machine are shown as their section says."""
    about: dict[str, Any] = {"source": "", "definition": ""}
    assert not define("proctree_x", "gauge", "", "", **about).family.detail
    assert define("prom_probe_x", "gauge", "", "", **about).family.detail
    assert not define("prom_probe_x", "gauge", "", "", essential=True, **about).family.detail


def newest(columns: list[Column], values: list[float | None], layout: int = 0) -> Newest:
    return Newest("c", layout, columns, 1, row(values))


def readable(source: str) -> Column:
    return column(READABLE.family, source=source)


def test_unreadable_sources_are_counted() -> None:
    """Those whose series is 0 now: neither absent ones nor other metrics; columns come and are renumbered."""
    sources = UnreadableSources()
    columns = [column(GAUGE), readable("a"), readable("b"), readable("c")]
    assert sources.count([newest(columns, [0.0, 0.0, 1.0, None])]) == 1
    assert sources.count([newest(columns, [0.0, 0.0])]) == 1
    columns.append(readable("d"))
    assert sources.count([newest(columns, [0.0, 0.0, 0.0, None, 0.0])]) == 3
    assert sources.count([newest([readable("d"), column(GAUGE)], [0.0, 0.0], layout=1)]) == 1
