"""What the real program has on /metrics is on docs/metrics.md."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from prom_probe.aggregate import sending_families as sending
from prom_probe.cli.metrics_doc import OWN
from prom_probe.collectors.catalogue import DEFINITIONS
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

_PARTS = ("_bucket", "_sum", "_count")

# Absent until there is something to count, or somewhere to send to.
_ABSENT = {
    *(definition.family.name for definition in sending.DEFINITIONS),
    "prom_probe_tsdb_rejected_samples_total",
    "prom_probe_http_tls_handshake_failures_total",
}


def test_all_that_is_exposed_is_defined(tmp_path: Path) -> None:
    """Each family's type and help, and each series' labels."""
    defined = {definition.family.name: definition for definition in (*DEFINITIONS, *OWN)}
    flags = [
        f"--storage.tsdb.path={tmp_path / 'store'}",
        "--expose.per-process",
        "--expose.system",
        "--collect.cmdline=on",
    ]
    with Sidecar("--watch=me=pid:1", flags=flags) as sidecar:
        wait_for("a process", lambda: sidecar.value('count(proctree_process_info{cmdline!=""})'))
        sidecar.get("/metrics", sidecar.web)
        wait_for("the requests", lambda: sidecar.value("sum(prom_probe_http_requests_total)"))
        _, body = sidecar.get("/metrics", sidecar.web)
    seen = set()
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            part = next((end for end in _PARTS if family.type == "histogram" and sample.name.endswith(end)), "")
            definition = defined[sample.name.removesuffix(part)]
            assert definition.family.type == family.type
            assert definition.family.help == family.documentation
            # A zombie has no command line.
            missing = {"cmdline"} if sample.name == "proctree_process_info" else set()
            assert set(sample.labels) - {"le"} | missing == set(definition.labels), sample.name
            seen.add(definition.family.name)
    assert {definition.family.name for definition in OWN} - seen <= _ABSENT
