"""What a report's data says after a round trip, by a reader that follows the drawing in packing.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.cli.report.packing import pack
from prom_probe.cli.report.samples import ReportMetric, ReportSeries
from tests.support.report_reader import unpack

METRICS = (
    ReportMetric("a_bytes"),
    ReportMetric("b_seconds_total", by=("pid",), per_unit=200, counter=True),
    ReportMetric("c", per_unit=1000),
)
TIMES = st.lists(st.integers(0, 1 << 42), min_size=1, max_size=30, unique=True).map(sorted)


@st.composite
def some_series(draw: st.DrawFn) -> ReportSeries:
    times = draw(TIMES)
    metric = draw(st.sampled_from(METRICS))
    whole = draw(st.lists(st.integers(-(1 << 52), 1 << 52), min_size=len(times), max_size=len(times)))
    values = np.array(whole, np.float64) / metric.per_unit
    label = draw(st.sampled_from(["1", "22", "é"]))
    return ReportSeries(metric, draw(st.sampled_from(["app", "</script>"])), label, np.array(times, np.int64), values)


@given(st.lists(some_series(), max_size=6))
def test_a_round_trip(series: list[ReportSeries]) -> None:
    """Each series comes back with its labels, all its times, and its values as finely as its metric is kept."""
    about, found = unpack(pack({"run": "</script>"}, series))
    assert about == {"run": "</script>"}

    def key(one: tuple[str, str, str, list[int], list[float]]) -> tuple[str, str, str, list[int]]:
        return one[:4]

    wanted = [(one.metric.name, one.tree, one.label, one.times_ms.tolist(), one.values.tolist()) for one in series]
    for read, written in zip(sorted(found, key=key), sorted(wanted, key=key), strict=True):
        assert read[:4] == written[:4]
        assert read[4] == pytest.approx(written[4], rel=1e-12)


def test_a_quiet_series_costs_a_bit_a_sample() -> None:
    """Gzip finds the rest: the numbers of what does not change are all alike."""
    import gzip

    times = np.arange(3600, dtype=np.int64) * 1000
    series = [ReportSeries(METRICS[0], "app", str(n), times, np.full(3600, n * 4096.0)) for n in range(50)]
    assert len(gzip.compress(pack({}, series), 9)) < 50 * 3600 / 8
