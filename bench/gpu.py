"""GPUs, over the fake driver library: time to the first sample, what a sample costs, what the feature weighs."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.footprint import measure, pss_kib
from bench.report import Row, percentile, print_table
from tests.support.fake_nvml import State, build
from tests.support.sidecar import Sidecar, children, read_comm
from tests.support.waiting import wait_for

# What a sample may cost at most, of the machine that the budget was measured on.
_SAMPLES = 300

_DETECT = """
import time
from prom_probe.sources.gpu_detect import detect_gpus
times = []
for _ in range(300):
    start = time.perf_counter()
    detect_gpus("/proc", "/sys")
    times.append(time.perf_counter() - start)
print(times[0] * 1e6, sorted(times)[150] * 1e6)
"""

_SAMPLE = """
import sys, time
from prom_probe.collectors.gpu.nvidia import NvidiaSource
from prom_probe.collectors.gpu.collector import GpuCollector
from prom_probe.collectors.base import Context
source = NvidiaSource()
source.open()
source.sample({})
times = []
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    source.sample({})
    times.append(time.perf_counter() - start)
collector = GpuCollector(Context(gpu="nvidia"))
collector.collect()
time.sleep(0.5)
collector.collect()
whole = []
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    collector.collect()
    whole.append(time.perf_counter() - start)
print(*(sorted(t)[int(len(t) * q)] * 1e6 for t in (times, whole) for q in (0.5, 0.99)))
"""

_BARE = "import pynvml, time; pynvml.nvmlInit(); print(flush=True); time.sleep(60)"


def state_of(directory: Path, devices: int) -> State:
    """A driver with so many GPUs, each with every field and four processes."""
    state = State(directory / f"state-{devices}")
    state.set("devices", devices)
    for device in range(devices):
        for field in (3, 4, 74, 75, 76, 77, 79, 82, 83, 94, 197, 198, 269, 270, 271):
            state.set(f"field {field} {device}", 3, 1000)
        for number in range(4):
            state.set(f"proc {device * 4 + number}", device, 1000 + number, 1 << 30)
            state.set(f"util {device * 4 + number}", device, 1000 + number, 20, 0, 0, 1)
    return state


def bare_pss(environ: dict[str, str]) -> int:
    """Kibibytes of a Python that has imported pynvml and initialised it, and nothing else."""
    process = subprocess.Popen([sys.executable, "-c", _BARE], env=environ, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        return pss_kib(process.pid)
    finally:
        process.kill()
        process.wait()


def worker_figures(flags: list[str], environ: dict[str, str], seconds: float) -> tuple[float, int]:
    """(seconds from the worker's start to its first sample, its PSS in KiB after `seconds`)."""
    with Sidecar(flags=flags, env=environ) as sidecar:
        first = wait_for("a sample", lambda: sidecar.metric("prom_probe_gpu_first_sample_seconds"))
        time.sleep(seconds)
        return float(first), pss_kib(sidecar.worker("gpu"))


def sidecar_pss(flags: list[str], seconds: float) -> tuple[int, int]:
    """(KiB of all processes, how many there are) on a machine without GPUs."""
    with Sidecar(flags=flags) as sidecar:
        wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
        time.sleep(seconds)
        pids = {"supervisor": sidecar.process.pid}
        pids |= {read_comm(pid): pid for pid in children(sidecar.process.pid) if read_comm(pid).startswith("pp-")}
        return sum(measure(pids).values()), len(pids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each sidecar runs before it is weighed")
    parser.add_argument("--rounds", type=int, default=3, help="sidecars with and without, in turn; the median counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        library = build(directory / "lib")
        empty = directory / "sys" / "class" / "drm"
        empty.mkdir(parents=True)
        environ = {**os.environ, "LD_LIBRARY_PATH": str(library)}
        rows: list[Row] = []
        run = [sys.executable, "-c"]
        out = subprocess.run([*run, _DETECT], capture_output=True, text=True, check=True).stdout.split()
        rows.append(("detection, cold / median", f"{float(out[0]):.0f} / {float(out[1]):.0f} us"))
        for devices in (1, 8):
            environ["FAKE_NVML_STATE"] = str(state_of(directory, devices).path)
            out = subprocess.run(
                [*run, _SAMPLE, str(_SAMPLES)], capture_output=True, text=True, check=True, env=environ
            ).stdout.split()
            p50, p99, whole, whole99 = map(float, out)
            rows.append((f"sample of {devices}, p50 / p99", f"{p50:.0f} / {p99:.0f} us, {p50 / devices:.0f} us a GPU"))
            rows.append((f"collection of {devices}, p50 / p99", f"{whole:.0f} / {whole99:.0f} us"))
        flags = ["--gpu=nvidia"]
        first, worker = worker_figures(flags, environ, args.seconds)
        rows.append(("worker's start to first sample of 8", f"{first * 1000:.0f} ms"))
        rows.append(("worker, PSS", f"{worker / 1024:.1f} MiB"))
        rows.append(("bare import pynvml; nvmlInit(), PSS", f"{bare_pss(environ) / 1024:.1f} MiB"))
        without = [f"--path.sysfs={directory / 'sys'}"]
        on, off = [], []
        for _ in range(args.rounds):
            on.append(sidecar_pss([*without, "--gpu=auto"], args.seconds))
            off.append(sidecar_pss([*without, "--gpu=off"], args.seconds))
        for label, found in (("auto", on), ("off", off)):
            total = statistics.median(pss for pss, _ in found) / 1024
            spread = (percentile([p for p, _ in found], 1.0) - percentile([p for p, _ in found], 0.0)) / 1024
            rows.append(
                (
                    f"no GPU, --gpu={label}: sidecar, PSS",
                    f"{total:.2f} MiB (+-{spread / 2:.2f}), {found[0][1]} processes",
                )
            )
        print_table(("What", "Measured"), rows)


if __name__ == "__main__":
    main()
