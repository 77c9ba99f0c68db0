"""GPUs end to end: the real program and the real nvidia-ml-py over a library that plays a driver with its faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.sources.pid_namespace import is_initial_namespace
from tests.support.fake_nvml import State, build
from tests.support.sidecar import Sidecar, alive, command
from tests.support.waiting import DEADLINE_S, wait_for

FLAGS = ("--gpu=nvidia", "--interval=200ms")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver of today."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver that lacks what came with version 550."""
    return build(tmp_path_factory.mktemp("old-nvml"), old=True)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """What the driver answers."""
    return State(tmp_path / "state")


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process to watch."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process.pid
    process.kill()
    process.wait()


def run(library: Path, state: State, *flags: str) -> Sidecar:
    environ = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(state.path)}
    return Sidecar(flags=[*FLAGS, *flags], env=environ)


def up(sidecar: Sidecar, device: int = 0) -> float | None:
    return sidecar.metric("gpu_up", uuid=f"GPU-fake-{device}")


def errors(sidecar: Sidecar, call: str, code: str) -> float:
    return sidecar.metric("gpu_errors_total", call=call, code=code) or 0.0


def names(sidecar: Sidecar) -> set[str]:
    return {name for name, _ in sidecar.metrics()}


def test_every_reading_of_the_table(library: Path, state: State) -> None:
    """Base units, whatever the driver's are."""
    fields = {83: (3, 5_000_250), 82: (1, 61), 94: (1, 3), 197: (1, 1000), 198: (1, 2000), 3: (3, 4), 4: (3, 1)}
    fields |= {74: (3, 2_500_000_000), 271: (3, 500_000_000)}
    for number, (kind, raw) in fields.items():
        state.set(f"field {number} 0", kind, raw)
    state.set("field_code 75 0", 3)
    expected: list[tuple[str, dict[str, str], float]] = [
        ("gpu_utilization_ratio", {"engine": "gpu"}, 0.75),
        ("gpu_utilization_ratio", {"engine": "encoder"}, 0.05),
        ("gpu_utilization_ratio", {"engine": "decoder"}, 0.06),
        ("gpu_utilization_ratio", {"engine": "jpeg"}, 0.07),
        ("gpu_utilization_ratio", {"engine": "ofa"}, 0.08),
        ("gpu_memory_bandwidth_utilization_ratio", {}, 0.4),
        ("gpu_memory_total_bytes", {}, 80e9),
        ("gpu_memory_used_bytes", {}, 30e9),
        ("gpu_memory_reserved_bytes", {}, 600e6),
        ("gpu_temperature_celsius", {"sensor": "gpu"}, 55),
        ("gpu_temperature_celsius", {"sensor": "memory"}, 61),
        ("gpu_power_watts", {}, 250),
        ("gpu_power_limit_watts", {}, 400),
        ("gpu_fan_speed_ratio", {}, 0.3),
        ("gpu_energy_joules_total", {}, 5000.25),
        ("gpu_clock_hertz", {"domain": "graphics"}, 1000e6),
        ("gpu_clock_hertz", {"domain": "sm"}, 1001e6),
        ("gpu_clock_hertz", {"domain": "memory"}, 1002e6),
        ("gpu_clock_hertz", {"domain": "video"}, 1003e6),
        ("gpu_pcie_bytes_total", {"direction": "transmit"}, 1000),
        ("gpu_pcie_bytes_total", {"direction": "receive"}, 2000),
        ("gpu_pcie_replays_total", {}, 3),
        ("gpu_throttle_seconds_total", {"reason": "power"}, 2.5),
        ("gpu_throttle_seconds_total", {"reason": "hw_power_brake"}, 0.5),
        ("gpu_ecc_errors_total", {"type": "corrected"}, 4),
        ("gpu_ecc_errors_total", {"type": "uncorrected"}, 1),
    ]
    with run(library, state) as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        metrics = sidecar.metrics()
        for name, labels, value in expected:
            assert metrics[name, frozenset({"uuid": "GPU-fake-0", **labels}.items())] == value, name
        info = {"uuid": "GPU-fake-0", "index": "0", "vendor": "nvidia", "name": "Fake GPU"}
        info |= {"pci_bus_id": "0000:01:00.0", "driver_version": "575.51.03"}
        assert metrics["gpu_info", frozenset(info.items())] == 1
        assert not any(name == "gpu_throttle_seconds_total" and ("reason", "thermal") in of for name, of in metrics)
        assert "gpu_errors_total" not in {name for name, _ in metrics}
        assert sidecar.metric("prom_probe_source_readable", source="gpu_nvidia") == 1
        assert (sidecar.metric("prom_probe_gpu_first_sample_seconds") or 0) > 0
        assert (sidecar.metric("gpu_sample_duration_seconds") or 0) > 0
        resident = "prom_probe_worker_resident_memory_bytes"  # comes with the next look at the workers
        wait_for("its memory", lambda: (sidecar.metric(resident, worker="gpu") or 0) > 1e6)
        assert sidecar.value('gpu_memory_used_bytes{uuid="GPU-fake-0"}') == 30e9


@pytest.mark.parametrize(("number", "code"), [(15, "GPU_IS_LOST"), (16, "RESET_REQUIRED")])
def test_one_gpu_is_lost_and_the_other_lives(library: Path, state: State, number: int, code: str) -> None:
    """No reading is left of the lost one, its neighbour's go on; one log line, and one when it is over."""
    state.set("devices", 2)
    with run(library, state) as sidecar:
        wait_for("both GPUs", lambda: up(sidecar, 0) == 1 and up(sidecar, 1) == 1)
        state.set("code all 1", number)
        wait_for("the loss", lambda: up(sidecar, 1) == 0)
        wait_for("errors", lambda: errors(sidecar, "nvmlDeviceGetMemoryInfo", code) > 3)
        assert up(sidecar, 0) == 1
        assert sidecar.metric("gpu_power_watts", uuid="GPU-fake-0") == 250
        assert sidecar.metric("gpu_power_watts", uuid="GPU-fake-1") is None
        state.unset("code all 1")
        wait_for("the return", lambda: up(sidecar, 1) == 1)
        wait_for("a line", lambda: f"{code} is over" in sidecar.stderr)
        assert sidecar.stderr.count("level=warn") == 1, sidecar.stderr


def test_a_gpu_that_is_lost_from_the_start(library: Path, state: State) -> None:
    """It cannot say who it is, but is shown as not up; the other one lives."""
    state.set("devices", 2)
    state.set("code nvmlDeviceGetHandleByIndex_v2 1", 15)
    with run(library, state) as sidecar:
        wait_for("the other one", lambda: up(sidecar, 0) == 1)
        assert sidecar.metric("gpu_up", uuid="nvidia-1") == 0
        assert errors(sidecar, "nvmlDeviceGetHandleByIndex", "GPU_IS_LOST") > 0
        state.unset("code nvmlDeviceGetHandleByIndex_v2 1")
        wait_for("the return", lambda: up(sidecar, 1) == 1)
        assert sidecar.metric("gpu_up", uuid="nvidia-1") is None


def test_an_initialisation_that_fails_is_tried_again(library: Path, state: State) -> None:
    """With back-off, in the same process; one log line that says what to do."""
    state.set("code nvmlInitWithFlags -1", 999)
    with run(library, state) as sidecar:
        wait_for("two attempts", lambda: errors(sidecar, "nvmlInitWithFlags", "UNKNOWN") >= 2)
        assert sidecar.metric("prom_probe_source_readable", source="gpu_nvidia") == 0
        assert not any(name.startswith("gpu_memory") for name in names(sidecar))
        assert sidecar.stderr.count("level=warn") == 1
        assert "when systemd is reloaded" in sidecar.stderr
        state.unset("code nvmlInitWithFlags -1")
        wait_for("the GPU", lambda: up(sidecar) == 1)
        assert sidecar.metric("prom_probe_worker_restarts_total", worker="gpu") == 0


def test_no_library(tmp_path: Path, state: State) -> None:
    """A driver's files without the library, as in a container that was not given the GPU."""
    with run(tmp_path, state) as sidecar:
        wait_for("an attempt", lambda: errors(sidecar, "nvmlInitWithFlags", "LIBRARY_NOT_FOUND") >= 1)
        assert "NVIDIA_DRIVER_CAPABILITIES" in sidecar.stderr


def test_access_that_is_lost_while_running(library: Path, state: State) -> None:
    """All calls fail with 999: the GPU is not up until initialising anew works."""
    with run(library, state) as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        state.set("code nvmlInitWithFlags -1", 999)
        state.set("code all -1", 999)
        wait_for("the loss", lambda: up(sidecar) == 0)
        wait_for("an attempt", lambda: errors(sidecar, "nvmlInitWithFlags", "UNKNOWN") >= 1)
        assert up(sidecar) == 0
        state.unset("code nvmlInitWithFlags -1")
        state.unset("code all -1")
        wait_for("the return", lambda: up(sidecar) == 1)


def test_a_driver_that_is_replaced_gets_a_new_process(library: Path, state: State) -> None:
    """The old library is mapped for good: only a new process finds the new one."""
    with run(library, state) as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        state.set("code nvmlInitWithFlags -1", 18)
        state.set("code all -1", 18)
        wait_for("a restart", lambda: sidecar.metric("prom_probe_worker_restarts_total", worker="gpu") == 1)
        state.unset("code nvmlInitWithFlags -1")
        state.unset("code all -1")
        wait_for("the return", lambda: up(sidecar) == 1)


def test_an_older_driver(old_library: Path, state: State, sleeper: int) -> None:
    """What it lacks is read by older calls or has no series; its PIDs are the machine's."""
    state.set("driver", "535.54.03")
    state.set("proc 0", 0, sleeper, 1000)
    with run(old_library, state, f"--watch=app=pid:{sleeper}") as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        assert sidecar.metric("gpu_temperature_celsius", uuid="GPU-fake-0", sensor="gpu") == 55
        assert sidecar.metric("gpu_memory_used_bytes", uuid="GPU-fake-0") == 30e9
        assert sidecar.metric("gpu_memory_reserved_bytes", uuid="GPU-fake-0") is None
        assert sidecar.metric("gpu_utilization_ratio", uuid="GPU-fake-0", engine="jpeg") is None
        assert "gpu_errors_total" not in names(sidecar)
        wait_for("a beat", lambda: sidecar.metric("prom_probe_source_readable", source="gpu_processes") is not None)
        if is_initial_namespace("/proc"):
            labels = {"uuid": "GPU-fake-0", "tree": "app"}
            wait_for("the sum", lambda: sidecar.metric("proctree_gpu_memory_bytes", **labels) == 1000)
        else:
            assert sidecar.metric("prom_probe_source_readable", source="gpu_processes") == 0
            assert "proctree_gpu_memory_bytes" not in names(sidecar)
            assert sidecar.stderr.count("numbers processes as the machine does") == 1


@pytest.mark.parametrize("driver", ["535.129.03", "575.51.03"])
def test_processes_by_tree(library: Path, state: State, sleeper: int, driver: str) -> None:
    """A tree's sum counts its own processes alone; utilisation is believed only of a process that is in the list."""
    state.set("driver", driver)
    state.set("proc 0", 0, sleeper, 4096)
    state.set("proc 1", 0, 1, 1 << 30)  # in no tree of ours
    with run(library, state, f"--watch=app=pid:{sleeper}", "--watch=none=comm:no-such-program") as sidecar:
        gpu = {"uuid": "GPU-fake-0"}
        wait_for("the sum", lambda: sidecar.metric("proctree_gpu_memory_bytes", tree="app", **gpu) == 4096)
        assert sidecar.metric("proctree_gpu_processes", tree="app", **gpu) == 1
        assert sidecar.metric("proctree_gpu_memory_bytes", tree="none", **gpu) == 0
        state.set_all(
            {
                "util 0": (0, sleeper, 40, 10, 0, 1000),
                "util 1": (0, sleeper, 60, 20, 0, 2000),  # the newer one counts
                "util 2": (0, 1, 90, 0, 0, 2000),
            }
        )
        most = f'max_over_time(gpu_process_utilization_ratio{{pid="{sleeper}",engine="gpu"}}[1m])'
        wait_for("work", lambda: (sidecar.value(most) or 0) > 0)
        wait_for("idle", lambda: sidecar.metric("proctree_gpu_utilization_ratio", tree="app", engine="gpu", **gpu) == 0)
        assert sidecar.value(most) == 0.6
        assert sidecar.value(f'gpu_process_memory_bytes{{tree="app",pid="{sleeper}"}}') == 4096
        assert "gpu_process_memory_bytes" not in names(sidecar), "a process's own series are local"
        assert sidecar.query('gpu_process_memory_bytes{pid="1"}') == []
        state.set("util 3", 0, 1, 90, 0, 0, 9000)
        state.unset("proc 0")
        wait_for("the end", lambda: sidecar.metric("proctree_gpu_processes", tree="app", **gpu) == 0)
        assert sidecar.metric("proctree_gpu_memory_bytes", tree="app", **gpu) == 0


def test_an_idle_gpu_without_samples_is_no_error(library: Path, state: State, sleeper: int) -> None:
    """Neither NOT_FOUND nor the success that nvidia-ml-py raises."""
    state.set("proc 0", 0, sleeper, 4096)
    with run(library, state, f"--watch=app=pid:{sleeper}") as sidecar:
        labels = {"tree": "app", "uuid": "GPU-fake-0", "engine": "gpu"}
        wait_for("NOT_FOUND", lambda: sidecar.metric("proctree_gpu_utilization_ratio", **labels) == 0)
        state.set("value idle_is_success 0", 1)
        runs = sidecar.metric("prom_probe_collector_runs_total", collector="gpu") or 0
        wait_for("runs", lambda: (sidecar.metric("prom_probe_collector_runs_total", collector="gpu") or 0) > runs + 2)
        assert sidecar.metric("proctree_gpu_utilization_ratio", **labels) == 0
        assert "gpu_errors_total" not in names(sidecar)


def test_mig(library: Path, state: State, sleeper: int) -> None:
    """Memory and processes per instance, no utilisation; instances come and go."""
    state.set("mig 0", 0, 3, 0, 2000, sleeper)
    state.set("mig 1", 0, 5, 0, 500)
    with run(library, state, f"--watch=app=pid:{sleeper}") as sidecar:
        gpu = {"uuid": "GPU-fake-0"}
        wait_for("memory", lambda: sidecar.metric("gpu_mig_memory_used_bytes", gpu_instance="3", **gpu) == 2000)
        assert sidecar.metric("gpu_mig_memory_total_bytes", gpu_instance="3", **gpu) == 10e9
        mig = {"mig_uuid": "MIG-fake-0-0", "gpu_instance": "3", "compute_instance": "0"}
        assert sidecar.metric("gpu_mig_info", **gpu, **mig) == 1
        assert sidecar.metric("gpu_utilization_ratio", engine="gpu", **gpu) is None
        wait_for("the tree", lambda: sidecar.metric("proctree_gpu_memory_bytes", tree="app", **gpu) == 2000)
        assert sidecar.metric("proctree_gpu_utilization_ratio", tree="app", engine="gpu", **gpu) is None
        state.unset("mig 1")
        wait_for("the end", lambda: sidecar.metric("gpu_mig_memory_used_bytes", gpu_instance="5", **gpu) is None)
        assert up(sidecar) == 1
        assert "gpu_errors_total" not in names(sidecar)


def test_xids_are_counted_through_a_restart(library: Path, state: State) -> None:
    """By number; a new worker goes on from what the last one had counted."""
    with run(library, state) as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        state.set("xid 1", 0, 79)
        state.set("xid 2", 0, 79)
        state.set("xid 3", 0, 31)
        wait_for("three", lambda: sidecar.metric("gpu_xid_errors_total", uuid="GPU-fake-0", xid="31") == 1)
        assert sidecar.metric("gpu_xid_errors_total", uuid="GPU-fake-0", xid="79") == 2
        for number in (1, 2, 3):
            state.unset(f"xid {number}")
        os.kill(sidecar.worker("gpu"), signal.SIGKILL)
        wait_for("a restart", lambda: sidecar.metric("prom_probe_worker_restarts_total", worker="gpu") == 1)
        wait_for("the GPU", lambda: up(sidecar) == 1)
        assert sidecar.metric("gpu_xid_errors_total", uuid="GPU-fake-0", xid="79") == 2


def test_no_device_then_one(library: Path, state: State) -> None:
    """A driver without a device is no error, and one that comes is found."""
    state.set("devices", 0)
    with run(library, state) as sidecar:
        wait_for("the driver", lambda: sidecar.metric("prom_probe_source_readable", source="gpu_nvidia") == 1)
        assert "gpu_up" not in names(sidecar)
        state.set("devices", 1)
        wait_for("the GPU", lambda: up(sidecar) == 1)


def test_a_slow_initialisation_delays_nothing_else(library: Path, state: State, sleeper: int) -> None:
    """Everything else is sampled meanwhile, and the GPU worker keeps its beat."""
    state.set("hang", "nvmlInitWithFlags")
    with run(library, state, f"--watch=app=pid:{sleeper}") as sidecar:
        wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree="app") == 1)
        wait_for("beats", lambda: (sidecar.metric("prom_probe_collector_runs_total", collector="gpu") or 0) >= 3)
        assert up(sidecar) is None
        state.unset("hang")
        wait_for("the GPU", lambda: up(sidecar) == 1)


def test_a_driver_call_that_hangs(library: Path, state: State) -> None:
    """The GPU is not up, the worker keeps its beat, and the end does not wait for the call."""
    with run(library, state) as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        state.set("hang", "nvmlDeviceGetPowerUsage")
        wait_for("the hang", lambda: up(sidecar) == 0)
        assert errors(sidecar, "sample", "HUNG") == 1
        assert sidecar.metric("prom_probe_worker_up", worker="gpu") == 1
        assert sidecar.stderr.count("has not answered") == 1
        state.unset("hang")
        wait_for("the return", lambda: up(sidecar) == 1)
        state.set("hang", "nvmlDeviceGetPowerUsage")
        wait_for("the hang", lambda: up(sidecar) != 1)
        worker = sidecar.worker("gpu")
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == 0
        assert "did not end in time" not in sidecar.stderr
        assert not alive(worker)


def test_a_crash_is_restarted_and_three_are_enough(library: Path, state: State) -> None:
    """One clear error then, until SIGHUP; the other workers do not notice."""
    with run(library, state) as sidecar:
        wait_for("the GPU", lambda: up(sidecar) == 1)
        state.set("crash", "nvmlDeviceGetPowerUsage")
        wait_for("the end", lambda: "given up until a reload (SIGHUP)" in sidecar.stderr)
        assert sidecar.stderr.count("level=error") == 1, sidecar.stderr
        wait_for("up is 0", lambda: sidecar.metric("prom_probe_worker_up", worker="gpu") == 0)
        assert sidecar.metric("prom_probe_worker_restarts_total", worker="gpu") == 2
        assert sidecar.metric("prom_probe_worker_restarts_total", worker="system") == 0
        assert sidecar.worker("gpu") == 0
        state.unset("crash")
        sidecar.process.send_signal(signal.SIGHUP)
        wait_for("the GPU again", lambda: up(sidecar) == 1)


def _machine(tmp_path: Path) -> Path:
    sysfs = tmp_path / "sys"
    (sysfs / "class" / "drm").mkdir(parents=True)
    return sysfs


def test_without_a_gpu_there_is_no_worker(tmp_path: Path, library: Path, state: State) -> None:
    """Nothing of it: no process, no library in any of ours, no series that would tell of a failure."""
    environ = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(state.path)}
    with Sidecar(flags=[f"--path.sysfs={_machine(tmp_path)}", "--interval=200ms"], env=environ) as sidecar:
        wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
        assert sidecar.worker("gpu") == 0
        assert sidecar.metric("prom_probe_worker_up", worker="gpu") is None
        for pid in [sidecar.process.pid, *(sidecar.worker(name) for name in ("process", "system", "aggregator"))]:
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "nvidia" not in maps
            assert "pynvml" not in maps


_SERVE = """
import sys, prom_probe.run.supervisor as supervisor
supervisor.RECHECK_S = 0.3
from prom_probe.config.sources import make_config
from prom_probe.config.sources import SettingsSource
from prom_probe.run.main import run_or_explain
config = make_config({"web.listen-address": ["127.0.0.1:0"], "api.listen-address": ["127.0.0.1:0"],
                      "interval": "200ms", "path.sysfs": sys.argv[1]})
sys.exit(run_or_explain(config, SettingsSource({}), ()))
"""


def test_a_driver_that_appears_later_is_picked_up(
    tmp_path: Path, library: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its files, looked for again and again (here more often than each minute)."""
    sysfs = _machine(tmp_path)
    environ = {**os.environ, "LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(state.path)}
    log = (tmp_path / "log").open("w+b")
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(sysfs)], stderr=log, env=environ)
    try:
        sidecar = object.__new__(Sidecar)
        sidecar.process, sidecar._log = process, log
        sidecar.web, sidecar.api = wait_for("listening", sidecar._urls)
        wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
        assert sidecar.worker("gpu") == 0
        module = sysfs / "module" / "nvidia"
        module.mkdir(parents=True)
        (module / "initstate").write_text("live\n")
        wait_for("the GPU", lambda: up(sidecar) == 1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)
        log.close()


def test_the_demonstration(sleeper: int) -> None:
    """Two GPUs with a workload, of which the watched tree gets the credit; counters only grow."""
    with Sidecar(flags=["--gpu=demo", "--interval=200ms", f"--watch=app=pid:{sleeper}"]) as sidecar:
        wait_for("both", lambda: sum(name == "gpu_up" for name, _ in sidecar.metrics()) == 2)
        wait_for(
            "the tree", lambda: (sidecar.metric("proctree_gpu_processes", tree="app", uuid="GPU-demo-0") or 0) == 1
        )
        wait_for("work", lambda: (sidecar.value('increase(gpu_energy_joules_total{uuid="GPU-demo-0"}[5s])') or 0) > 0)
        assert sidecar.value("min(gpu_utilization_ratio) >= 0") is not None


def test_off_is_off(library: Path, state: State, tmp_path: Path) -> None:
    """Whatever is there."""
    sysfs = _machine(tmp_path)
    (sysfs / "module" / "nvidia").mkdir(parents=True)
    (sysfs / "module" / "nvidia" / "initstate").write_text("live\n")
    with Sidecar(flags=["--gpu=off", f"--path.sysfs={sysfs}"]) as sidecar:
        wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
        assert sidecar.worker("gpu") == 0


def test_a_wrong_kind_is_one_line() -> None:
    """With what would be right."""
    ended = command("run", "--gpu=voodoo")
    assert ended.returncode == 2
    assert "auto, off, nvidia, amd, intel, demo" in ended.stderr
