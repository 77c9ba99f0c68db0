"""`/api/v1/status/self_metrics`: our own metrics as Prometheus's newest release tells its own."""

from __future__ import annotations

import struct

from prom_probe.model.family import Family, column
from prom_probe.model.meter import Meter
from prom_probe.model.sample import STALE
from prom_probe.model.series import Newest
from prom_probe.web.context import About, ServedTarget
from tests.support.web_harness import NOW_MS, FakeStore, serving

RUNS = Family("prom_probe_runs_total", "counter", "Runs.")
SECONDS = Family("prom_probe_x_seconds", "histogram", "Seconds.", "seconds")
OTHER = Family("system_load1", "gauge", "Load.")

RUNS_TOLD = {
    "name": "prom_probe_runs_total",
    "help": "Runs.",
    "type": "COUNTER",
    "metric": [
        {"label": [{"name": "worker", "value": "a"}], "counter": {"value": 7.0}},
        {"label": [{"name": "worker", "value": "b"}], "counter": {"value": "Infinity"}},
    ],
}
SECONDS_TOLD = {
    "name": "prom_probe_x_seconds",
    "help": "Seconds.",
    "type": "HISTOGRAM",
    "metric": [
        {
            "label": [{"name": "of", "value": "q"}],
            "histogram": {
                "bucket": [
                    {"cumulativeCount": "1", "upperBound": 0.5},
                    {"cumulativeCount": "2", "upperBound": 1.0},
                ],
                "sampleSum": 4.0,
                "sampleCount": "3",
            },
        }
    ],
}


def rows() -> list[Newest]:
    """A collector of two families, one of ours with a series that has ended; our own; a page of another prom_probe."""
    meter = Meter()
    histogram = meter.histogram(SECONDS, (0.5, 1.0), of="q")
    for seconds in (0.25, 0.75, 3.0):
        histogram.observe(seconds)
    columns = [column(OTHER), *(column(RUNS, worker=name) for name in "abc")]
    payload = struct.pack("<4d", 1.0, 7.0, float("inf"), STALE)
    return [
        Newest("system", 0, columns, NOW_MS, payload),
        Newest("self", 0, meter.layout.columns, NOW_MS, meter.layout.row.tobytes()),
        Newest("page", 0, [column(RUNS, worker="theirs")], NOW_MS, struct.pack("<d", 1.0)),
    ]


def test_our_own_metrics_as_protobuf_json() -> None:
    """Neither the machine's, nor those that have ended, nor those of a page that is scraped."""
    about = About({}, targets=lambda: {"page": ServedTarget({"job": "x", "instance": "y"}, "", "1s", "1s")})
    with serving(FakeStore(rows()), about=about) as site:
        path = "/api/v1/status/self_metrics"
        assert site.ask(path).json == {"status": "success", "data": [RUNS_TOLD, SECONDS_TOLD]}
        assert site.ask(f"{path}?metric_name_pattern=prom_probe_x.*").json["data"] == [SECONDS_TOLD]
        assert site.ask(f"{path}?metric_name_pattern=runs").json["data"] == []
        reply = site.ask(f"{path}?metric_name_pattern=(")
        assert (reply.status, reply.json["errorType"]) == (400, "bad_data")
