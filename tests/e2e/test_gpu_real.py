"""A real NVIDIA GPU: what the sidecar says of it beside what nvidia-smi says at the same moment."""

from __future__ import annotations

import subprocess

import pytest

from prom_probe.sources.gpu_detect import detect_gpus
from tests.support.programs import program
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

pytestmark = pytest.mark.gpu

# nvidia-smi's field, our metric with its labels, what its unit is of ours, and how far apart two looks may be.
PAIRS: tuple[tuple[str, str, dict[str, str], float, float], ...] = (
    ("memory.total", "gpu_memory_total_bytes", {}, 1 << 20, 0.001),
    ("memory.used", "gpu_memory_used_bytes", {}, 1 << 20, 0.05),
    ("temperature.gpu", "gpu_temperature_celsius", {"sensor": "gpu"}, 1, 0.1),
    ("power.draw", "gpu_power_watts", {}, 1, 0.3),
    ("enforced.power.limit", "gpu_power_limit_watts", {}, 1, 0.01),
)


@pytest.fixture(scope="module")
def smi() -> dict[str, dict[str, str]]:
    """nvidia-smi's readings by UUID."""
    if "nvidia" not in detect_gpus("/proc", "/sys"):
        pytest.skip("no NVIDIA driver is loaded on this machine")
    path = program("nvidia-smi")
    fields = ["uuid", *(pair[0] for pair in PAIRS)]
    command = [path, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.split(",")] for line in out.splitlines()]
    return {row[0]: dict(zip(fields, row, strict=True)) for row in rows}


def test_readings_are_those_of_nvidia_smi(smi: dict[str, dict[str, str]]) -> None:
    """Of every GPU, found by detection, in base units; what it does not have has no series."""
    with Sidecar(flags=["--interval=200ms"]) as sidecar:
        wait_for("every GPU", lambda: all(sidecar.metric("gpu_up", uuid=uuid) == 1 for uuid in smi))
        for uuid, theirs in smi.items():
            for field, name, labels, scale, tolerance in PAIRS:
                ours = sidecar.metric(name, uuid=uuid, **labels)
                if theirs[field].startswith("["):
                    assert ours is None, f"{field}: nvidia-smi has none"
                else:
                    assert ours == pytest.approx(float(theirs[field]) * scale, rel=tolerance, abs=scale), field
        first = sidecar.metric("prom_probe_gpu_first_sample_seconds")
        took = sidecar.metric("gpu_sample_duration_seconds")
        memory = sidecar.metric("prom_probe_worker_resident_memory_bytes", worker="gpu")
        print(f"first sample after {first} s, a sample takes {took} s, worker {memory} bytes resident")
        assert (sidecar.metric("prom_probe_worker_restarts_total", worker="gpu") or 0) == 0


def test_counters_only_grow(smi: dict[str, dict[str, str]]) -> None:
    """Energy above all."""
    with Sidecar(flags=["--interval=200ms"]) as sidecar:
        uuid = next(iter(smi))
        wait_for("energy", lambda: sidecar.metric("gpu_energy_joules_total", uuid=uuid))
        wait_for("more", lambda: (sidecar.value(f'increase(gpu_energy_joules_total{{uuid="{uuid}"}}[5s])') or 0) > 0)
        assert sidecar.query('resets({__name__=~"gpu_.*_total"}[1m]) > 0') == []
