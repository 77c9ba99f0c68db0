"""What a sidecar tells of itself on /metrics by default: little enough for thousands of pods."""

from __future__ import annotations

from pathlib import Path

from prom_probe.aggregate import families as aggregate
from prom_probe.aggregate import sending_families as sending
from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.run.probes import PROBES
from prom_probe.web import families as web
from tests.support.fault_receiver import FaultReceiver
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for


def test_at_most_40_series(tmp_path: Path) -> None:
    """With remote write, a directory and every worker; all others are in the query API."""
    essential = {
        definition.family.name
        for definition in (*DEFINITIONS, *aggregate.DEFINITIONS, *sending.DEFINITIONS, *web.DEFINITIONS)
        if not definition.family.detail
    }
    with FaultReceiver() as receiver:
        flags = ["--expose.self=essential", f"--remote-write.url={receiver.url}"]
        flags.append(f"--storage.tsdb.path={tmp_path / 'run'}")
        flags += ["--gpu=demo", "--scrape=gone=http://127.0.0.1:1/"]
        with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
            wait_for("it sends", lambda: sidecar.value("prom_probe_remote_write_up") == 1)
            wait_for("all workers", lambda: (sidecar.value("count(prom_probe_worker_up)") or 0) >= len(PROBES) + 2)
            wait_for("all collectors", lambda: (sidecar.value("count(prom_probe_collector_runs_total > 0)") or 0) >= 6)
            shown = [name for name, _ in sidecar.metrics() if name.startswith("prom_probe_")]
            assert len(shown) <= 40
            assert set(shown) <= essential
            assert "prom_probe_sources_unreadable" in shown
            assert (sidecar.value("count(prom_probe_source_readable)") or 0) > 3
