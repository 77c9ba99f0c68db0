"""The demonstration's GPUs are plausible: dashboards made with them will do for real ones."""

from __future__ import annotations

from prom_probe.collectors.gpu.demo import DemoSource
from prom_probe.collectors.gpu.families import READINGS


def test_counters_only_grow_and_ratios_are_ratios() -> None:
    """Over ten minutes; memory in use fits into the GPU, every reading is one of the table."""
    now = 0.0
    source = DemoSource(lambda: now)
    last: dict[tuple[str, str, str], float] = {}
    busy = set()
    for _ in range(1200):
        for sample in source.sample({"app": [10, 11, 12]}):
            values = sample.values
            assert values["memory_used_bytes", ""] <= values["memory_total_bytes", ""]
            for (name, label), value in values.items():
                assert value >= 0
                if READINGS[name].family.type == "counter":
                    key = sample.info.uuid, name, label
                    assert value >= last.get(key, 0.0), key
                    last[key] = value
                if name.endswith("_ratio"):
                    assert value <= 1
            busy.add(round(values["utilization_ratio", "gpu"], 1))
            assert sample.processes is not None
            assert set(sample.processes) <= {10, 11}
        now += 0.5
    assert {0.0, 0.6, 0.9} <= busy
