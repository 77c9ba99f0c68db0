"""Those who look at the sidecar while it soaks, each a thread that writes down what it sees."""

from __future__ import annotations

import http.client
import itertools
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.dashboards import PANELS, filled_in
from tests.support.prometheus import matrix
from tests.support.sidecar import Sidecar, children, read_comm
from tests.support.soak.record import Failure, Reading, Record
from tests.support.strangers import address_of

# By collector, a series of which each collection has one sample.
TICKS = {
    "process": 'proctree_processes{tree="churn"}',
    "system": "system_load1",
    "scrape": 'up{job="target"}',
}

# By name in the record, a sum over /metrics.
COUNTERS = {
    "restarts": ("prom_probe_worker_restarts_total", ""),
    "ring drops": ("prom_probe_ring_dropped_frames_total|prom_probe_ring_corrupt_frames_total", ""),
    "log drops": ("prom_probe_log_dropped_lines_total", ""),
    "disk errors": ("prom_probe_tsdb_disk_errors_total", ""),
    "persistent": ("prom_probe_tsdb_persistent", ""),
    **{f"overruns {name}": ("prom_probe_collector_overruns_total", name) for name in TICKS},
}

_PATIENCE_S = 10.0  # Prometheus's default scrape_timeout
_DASHBOARD_S = 300  # the span that a dashboard shows


class Observer(threading.Thread):
    """Looks every `period_s` until it is told to stop. What it cannot ask is a failure of its kind."""

    def __init__(self, record: Record, kind: str, period_s: float, look: Callable[[], None]) -> None:
        super().__init__(name=kind)
        self._record, self._kind, self._period_s, self._look = record, kind, period_s, look
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._period_s):
            self.attempt()

    def attempt(self) -> None:
        self._record.requests[self._kind] += 1
        try:
            self._look()
        except (OSError, AssertionError, http.client.HTTPException, KeyError, ValueError) as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            self._record.failures.append(Failure(time.time(), self._kind, text))

    def __enter__(self) -> Observer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def ours(sidecar: Sidecar) -> Iterator[tuple[str, int]]:
    """(name, PID) of the supervisor and its workers."""
    yield "supervisor", sidecar.process.pid
    for pid in children(sidecar.process.pid):
        comm = read_comm(pid)
        if comm.startswith("pp-"):
            yield comm.removeprefix("pp-"), pid


def read_processes(record: Record, sidecar: Sidecar) -> None:
    for name, pid in ours(sidecar):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            readings = {
                "PSS": 1024.0 * int(rollup.partition("\nPss:")[2].split()[0]),
                "descriptors": float(len(os.listdir(f"/proc/{pid}/fd"))),
                "threads": float(len(os.listdir(f"/proc/{pid}/task"))),
            }
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        record.readings.extend(Reading(time.time(), name, quantity, value) for quantity, value in readings.items())


def _get(address: tuple[str, int], path: str) -> bytes:
    """The body of a 200 over a new connection."""
    connection = http.client.HTTPConnection(*address, timeout=_PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, f"{response.status} {path[:60]}"
        return body
    finally:
        connection.close()


def read_page(sidecar: Sidecar) -> None:
    """/metrics is there, and whole."""
    assert b"prom_probe_build_info" in _get(address_of(sidecar.web), "/metrics"), "not a whole page"


def read_counters(record: Record, sidecar: Sidecar) -> None:
    """Those that are there: after its start, the aggregator has not yet heard of all workers."""
    metrics = sidecar.metrics()
    for name, (families, collector) in COUNTERS.items():
        values = [
            value
            for (family, labels), value in metrics.items()
            if family in families.split("|") and (not collector or ("collector", collector) in labels)
        ]
        if values:
            record.counters.setdefault(name, []).append(sum(values))


def read_ticks(record: Record, sidecar: Sidecar) -> None:
    """When the newest samples of each collector are of; what was seen before stays."""
    for collector, series in TICKS.items():
        times = record.ticks.setdefault(collector, set())
        for samples in matrix(sidecar.api, f"{series}[30s]", time.time()).values():
            times.update(t_s for t_s, _ in samples)


def ask_dashboards(sidecar: Sidecar) -> Callable[[], None]:
    """Each call asks what one more panel asks for."""
    expressions = itertools.cycle(filled_in(expr) for _, _, panel in PANELS for expr, _ in panel.targets)

    def ask() -> None:
        now = time.time()
        form = {"query": next(expressions), "start": now - _DASHBOARD_S, "end": now, "step": 2}
        _get(address_of(sidecar.api), "/api/v1/query_range?" + urllib.parse.urlencode(form))

    return ask
