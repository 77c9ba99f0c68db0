"""Network interfaces and disks on the real kernel, beside node_exporter: which there are, and what they count."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from prom_probe.collectors.system.devices import MAX_DEVICES
from tests.support.devices import SAME
from tests.support.paths import ROOT
from tests.support.programs import program
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

VETH_PAIRS = 70
# Interfaces enough that some have no series; one pair is up, and so has sent packets.
_MANY = f"""ip link set lo up || exit
for n in $(seq {VETH_PAIRS}); do ip link add left$n type veth peer name right$n || exit; done
ip link set left9 up && ip link set right9 up && exec """


@pytest.mark.parametrize("many", [False, True], ids=["this machine", "more interfaces than have series"])
def test_devices_are_node_exporters(many: bool) -> None:
    """Each counter of ours is between theirs of before and after; what has no series is counted."""
    program("prometheus-node-exporter")
    python = f"{sys.executable} -c 'from tests.support.devices import both; print(both())'"
    argv = ["unshare", "--net", "sh", "-c", _MANY + python] if many else ["sh", "-c", python]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode and "not permitted" in done.stderr:
        pytest.skip(done.stderr.strip())
    before, row, after = json.loads(done.stdout)
    for name, their_name in SAME.items():
        ours = {
            series.split('"')[1]: value
            for series, value in row.items()
            if series.startswith(name) and value is not None
        }
        assert set(ours) - {"lo"} <= set(before[their_name]) and ours, name
        for device, value in ours.items() - {("lo", ours.get("lo"))}:
            assert before[their_name][device] <= value <= after[their_name][device], (name, device)
        if "network" in name:
            left_out = len(before[their_name]) + 1 - len(ours)  # and lo, which it leaves out
            assert left_out == row.get('prom_probe_dropped_devices{kind="network"}', 0)
            assert not many or left_out == 2 * VETH_PAIRS + 1 - MAX_DEVICES
