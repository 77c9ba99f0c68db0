"""What node_exporter and the system collector say of network interfaces and disks."""

from __future__ import annotations

import json
import re
import urllib.request

from prom_probe.collectors.base import Context
from prom_probe.collectors.system.collector import SystemCollector
from tests.support.collector_harness import values
from tests.support.peers import node_exporter
from tests.support.waiting import DEADLINE_S

# Ours and theirs, per device.
SAME = {
    "system_network_receive_bytes_total": "node_network_receive_bytes_total",
    "system_network_transmit_packets_total": "node_network_transmit_packets_total",
    "system_disk_read_bytes_total": "node_disk_read_bytes_total",
    "system_disk_writes_completed_total": "node_disk_writes_completed_total",
}

Samples = dict[str, dict[str, float]]


def theirs(url: str) -> Samples:
    with urllib.request.urlopen(f"{url}/metrics", timeout=DEADLINE_S) as answer:
        rows = re.findall(r'^(node_\w+)\{device="([^"]+)"\} (\S+)$', answer.read().decode(), re.MULTILINE)
    return {name: {device: float(value) for row, device, value in rows if row == name} for name in SAME.values()}


def both() -> str:
    """As JSON: theirs, ours, theirs again."""
    with node_exporter() as peer:
        collector = SystemCollector(Context())
        before = theirs(peer.url)
        collector.collect()
        return json.dumps([before, values(collector), theirs(peer.url)])
