"""Two imaginary GPUs, with a workload that is attributed to the watched trees: to try dashboards on any machine."""

import math
from collections.abc import Callable

from prom_probe.collectors.gpu.source import GpuInfo, GpuProcess, GpuSample, Trees

_GIB = 1 << 30
# A training run: epochs of this many seconds, each ending with an evaluation and a pause.
_EPOCH_S = 60.0


class DemoSource:
    """See `GpuSource`. Its readings depend on the clock alone; its counters start at 0."""

    name = "demo"

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._start_s = monotonic()

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def sample(self, trees: Trees) -> list[GpuSample]:
        pids = [pid for members in trees.values() for pid in members[:2]]
        return [self._gpu(number, pids[number : number + 1]) for number in (0, 1)]

    def _gpu(self, number: int, pids: list[int]) -> GpuSample:
        t = self._monotonic() - self._start_s
        busy = _load(t + number * 7.0)
        total, reserved = 80 * _GIB, 0.6 * _GIB
        used = (2 + (61 - 20 * number) * min(1.0, t / 5) * (0.9 + 0.1 * busy)) * _GIB
        power = 70 + 600 * busy
        hot = max(0.0, power - 560) / 40
        sample = GpuSample(
            GpuInfo(f"GPU-demo-{number}", str(number), "demo", "Demo 80GB", f"0000:0{number + 1}:00.0", "demo")
        )
        sample.values = {
            ("utilization_ratio", "gpu"): round(busy, 2),
            ("utilization_ratio", "encoder"): 0.0,
            ("utilization_ratio", "decoder"): round(0.2 * busy, 2),
            ("memory_bandwidth_utilization_ratio", ""): round(0.6 * busy, 2),
            ("memory_total_bytes", ""): total,
            ("memory_used_bytes", ""): round(used),
            ("memory_reserved_bytes", ""): round(reserved),
            ("temperature_celsius", "gpu"): round(32 + 38 * busy),
            ("temperature_celsius", "memory"): round(38 + 44 * busy),
            ("power_watts", ""): round(power, 1),
            ("power_limit_watts", ""): 700.0,
            ("fan_speed_ratio", ""): round(0.3 + 0.5 * busy, 2),
            # The integral of the power, so that it never falls.
            ("energy_joules_total", ""): round(70 * t + 600 * _work(t, number * 7.0), 3),
            ("clock_hertz", "sm"): round(1_980e6 - 200e6 * min(1.0, hot)) if busy > 0.05 else 345e6,
            ("clock_hertz", "memory"): 2_619e6,
            ("pcie_bytes_total", "transmit"): round(2e9 * _work(t, number * 7.0)),
            ("pcie_bytes_total", "receive"): round(9e9 * _work(t, number * 7.0)),
            ("pcie_replays_total", ""): 0.0,
            ("throttle_seconds_total", "power"): round(0.05 * _work(t, number * 7.0), 3),
            ("ecc_errors_total", "corrected"): float(int(t / 600)),
            ("ecc_errors_total", "uncorrected"): 0.0,
        }
        sample.processes = {pid: GpuProcess(round(used - 0.5 * _GIB), {"gpu": round(busy, 2)}, {}) for pid in pids}
        return sample


def _load(t: float) -> float:
    """Busy share at a moment: a ramp, training with a ripple, an evaluation, a pause."""
    phase = t % _EPOCH_S
    if phase < 3:
        return phase / 3 * 0.9
    if phase < 45:
        return 0.9 + 0.08 * math.sin(phase * 2.1)
    return 0.55 + 0.05 * math.sin(phase * 3.3) if phase < 55 else 0.02


def _work(t: float, shift: float) -> float:
    """Busy seconds since the start, roughly: whole epochs at their mean, the rest in steps of half a second."""
    epochs, rest = divmod(t, _EPOCH_S)
    return epochs * _WORK_OF_EPOCH + sum(_load(shift + 0.5 * step) for step in range(int(rest * 2))) * 0.5


_WORK_OF_EPOCH = sum(_load(0.5 * step) for step in range(int(_EPOCH_S * 2))) * 0.5
