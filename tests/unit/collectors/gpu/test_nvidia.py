"""NVIDIA's GPUs through a driver library that is a table: each reading's unit, several GPUs, losses, processes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from prom_probe.collectors.gpu.nvidia import NvidiaSource
from prom_probe.collectors.gpu.source import GpuError, GpuProcess, GpuSample, Key, MigDevice
from prom_probe.sources.nvml import Nvml
from tests.support.fake_pynvml import FakePynvml, answers, memory, number, process, utilization

GIB = 1 << 30

# Function, its answer, and the readings that it gives.
CALLS: list[tuple[tuple[object, ...], object, dict[Key, float]]] = [
    (
        ("nvmlDeviceGetMemoryInfo", 0),
        memory(80 * GIB, 3 * GIB, GIB // 2),
        {
            ("memory_total_bytes", ""): 80 * GIB,
            ("memory_used_bytes", ""): 3 * GIB,
            ("memory_reserved_bytes", ""): GIB // 2,
        },
    ),
    (
        ("nvmlDeviceGetUtilizationRates", 0),
        SimpleNamespace(gpu=81, memory=24),
        {("utilization_ratio", "gpu"): 0.81, ("memory_bandwidth_utilization_ratio", ""): 0.24},
    ),
    (("nvmlDeviceGetEncoderUtilization", 0), [5, 1000], {("utilization_ratio", "encoder"): 0.05}),
    (("nvmlDeviceGetDecoderUtilization", 0), [6, 1000], {("utilization_ratio", "decoder"): 0.06}),
    (("nvmlDeviceGetJpgUtilization", 0), [7, 1000], {("utilization_ratio", "jpeg"): 0.07}),
    (("nvmlDeviceGetOfaUtilization", 0), [8, 1000], {("utilization_ratio", "ofa"): 0.08}),
    (("nvmlDeviceGetTemperatureV", 0), 47, {("temperature_celsius", "gpu"): 47}),
    (("nvmlDeviceGetTemperature", 0), 48, {("temperature_celsius", "gpu"): 48}),
    (("nvmlDeviceGetPowerUsage", 0), 123_456, {("power_watts", ""): 123.456}),
    (("nvmlDeviceGetEnforcedPowerLimit", 0), 700_000, {("power_limit_watts", ""): 700}),
    (("nvmlDeviceGetFanSpeed", 0), 105, {("fan_speed_ratio", ""): 1.05}),
    (("nvmlDeviceGetClockInfo", 0, 0), 1980, {("clock_hertz", "graphics"): 1980e6}),
    (("nvmlDeviceGetClockInfo", 0, 1), 1981, {("clock_hertz", "sm"): 1981e6}),
    (("nvmlDeviceGetClockInfo", 0, 2), 2619, {("clock_hertz", "memory"): 2619e6}),
    (("nvmlDeviceGetClockInfo", 0, 3), 1500, {("clock_hertz", "video"): 1500e6}),
]
# Field, its answer, and the reading that it gives.
FIELDS: list[tuple[int, tuple[int, int, bytes], dict[Key, float]]] = [
    (83, number(7_500), {("energy_joules_total", ""): 7.5}),
    (82, number(61, "I", 1), {("temperature_celsius", "memory"): 61}),
    (82, number(0, "I", 1), {}),  # boards without this sensor
    (94, number(9, "I", 1), {("pcie_replays_total", ""): 9}),
    (3, number(11), {("ecc_errors_total", "corrected"): 11}),
    (4, number(12), {("ecc_errors_total", "uncorrected"): 12}),
    (74, number(1.5e9, "d", 0), {("throttle_seconds_total", "power"): 1.5}),
    (75, number(-2_000_000_000, "q", 4), {("throttle_seconds_total", "thermal"): -2}),
    (76, number(3 * 10**9), {("throttle_seconds_total", "sync_boost"): 3}),
    (77, number(4 * 10**9), {("throttle_seconds_total", "board_limit"): 4}),
    (79, number(5 * 10**9), {("throttle_seconds_total", "reliability"): 5}),
    (269, number(6 * 10**9), {("throttle_seconds_total", "sw_thermal"): 6}),
    (270, number(7 * 10**9), {("throttle_seconds_total", "hw_thermal"): 7}),
    (271, number(8 * 10**9, kind=99), {("throttle_seconds_total", "hw_power_brake"): 8}),  # a type of the future
]


def opened(fake: FakePynvml) -> NvidiaSource:
    source = NvidiaSource(lambda: Nvml(fake))
    source.open()
    return source


def one(source: NvidiaSource) -> GpuSample:
    (sample,) = source.sample({})
    return sample


@pytest.mark.parametrize(("key", "answer", "values"), CALLS, ids=lambda value: str(value)[:40])
def test_a_call_gives_its_readings(key: tuple[object, ...], answer: object, values: dict[Key, float]) -> None:
    """In base units; all that the driver does not support is absent, without a fault."""
    fake = FakePynvml()
    fake.answers[key] = answer
    sample = one(opened(fake))
    assert sample.values == pytest.approx(values)
    assert (sample.up, sample.faults, sample.wrapping) == (True, [], {})


@pytest.mark.parametrize(("field", "answer", "values"), FIELDS, ids=lambda value: str(value)[:40])
def test_a_field_gives_its_reading(field: int, answer: tuple[int, int, bytes], values: dict[Key, float]) -> None:
    """Whatever its type."""
    fake = FakePynvml()
    fake.fields[0, field] = answer
    sample = one(opened(fake))
    assert sample.values == values
    assert sample.faults == []


def test_a_counter_that_wraps_says_where() -> None:
    """At the width of the type that the driver gives."""
    fake = FakePynvml()
    fake.fields[0, 197] = number(100, "I", 1)
    fake.fields[0, 198] = number(200)
    assert one(opened(fake)).wrapping == {
        ("pcie_bytes_total", "transmit"): (100, 1 << 32),
        ("pcie_bytes_total", "receive"): (200, 1 << 64),
    }


def test_a_field_that_fails_is_a_fault_of_its_own() -> None:
    """The fields beside it are read."""
    fake = FakePynvml()
    fake.fields[0, 83] = (3, 999, bytes(8))
    fake.fields[0, 94] = number(9)
    sample = one(opened(fake))
    assert sample.values == {("pcie_replays_total", ""): 9}
    assert [(fault.call, fault.code) for fault in sample.faults] == [("nvmlDeviceGetFieldValues", "UNKNOWN")]
    assert sample.up


def test_old_drivers_do_not_say_what_is_reserved() -> None:
    """The second version of the call is asked for first, each time anew: both have one name."""
    fake = FakePynvml()
    fake.answers["nvmlDeviceGetMemoryInfo", 0, 0x02000028] = "FUNCTION_NOT_FOUND"
    fake.answers["nvmlDeviceGetMemoryInfo", 0] = memory(8 * GIB, GIB, 7)
    source = opened(fake)
    for _ in range(2):
        assert one(source).values == {("memory_total_bytes", ""): 8 * GIB, ("memory_used_bytes", ""): GIB}
    assert fake.calls["nvmlDeviceGetMemoryInfo"] == 4


def test_memory_that_is_the_machines_own_is_absent() -> None:
    """Unified memory: its total is 0, or it is not supported, which is no fault."""
    for answer in (memory(0, 0), "NOT_SUPPORTED"):
        fake = FakePynvml()
        fake.answers["nvmlDeviceGetMemoryInfo", 0] = answer
        sample = one(opened(fake))
        assert (sample.values, sample.faults) == ({}, [])


def test_each_gpu_has_its_own_readings() -> None:
    """Identity, values, Xids and processes of three GPUs."""
    fake = FakePynvml(devices=3)
    for device in range(3):
        answers(fake, device, {"nvmlDeviceGetPowerUsage": 1000 * (device + 1)})
        fake.answers["nvmlDeviceGetComputeRunningProcesses_v3", device] = [process(70 + device, device * GIB)]
    fake.events = [(1, 31), (2, 79), (1, 43), (9, 1)]
    source = opened(fake)
    samples = source.sample({})
    assert [sample.info.uuid for sample in samples] == ["GPU-0", "GPU-1", "GPU-2"]
    assert [sample.info.index for sample in samples] == ["0", "1", "2"]
    assert [sample.info.pci_bus_id for sample in samples] == ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"]
    assert {sample.info.driver_version for sample in samples} == {"550.54.15"}
    assert [sample.values["power_watts", ""] for sample in samples] == [1, 2, 3]
    assert [sample.xids for sample in samples] == [[], [31, 43], [79]]
    assert [sample.processes and list(sample.processes) for sample in samples] == [[70], [71], [72]]
    assert [sample.xids for sample in source.sample({})] == [[], [], []]


def test_a_lost_gpu_is_down_and_the_others_are_not() -> None:
    """Nothing half read is shown of it; it comes back."""
    fake = FakePynvml(devices=2)
    for device in range(2):
        answers(fake, device, {"nvmlDeviceGetPowerUsage": 1000, "nvmlDeviceGetMemoryInfo": memory(GIB, 1)})
    source = opened(fake)
    fake.answers["nvmlDeviceGetPowerUsage", 1] = "GPU_IS_LOST"
    calls = fake.calls["nvmlDeviceGetFieldValues"]
    well, lost = source.sample({})
    assert (well.up, well.values["power_watts", ""]) == (True, 1)
    assert (lost.up, lost.values, [fault.code for fault in lost.faults]) == (False, {}, ["GPU_IS_LOST"])
    assert fake.calls["nvmlDeviceGetFieldValues"] == calls + 1  # no call is made of it any more
    fake.answers["nvmlDeviceGetPowerUsage", 1] = 2000
    assert source.sample({})[1].values["power_watts", ""] == 2


def test_a_call_that_fails_costs_its_readings_only() -> None:
    """All of them failing is one reason: the GPU is down."""
    fake = FakePynvml()
    answers(fake, 0, {"nvmlDeviceGetPowerUsage": "UNKNOWN", "nvmlDeviceGetFanSpeed": 50})
    source = opened(fake)
    sample = one(source)
    assert (sample.up, sample.values) == (True, {("fan_speed_ratio", ""): 0.5})
    assert [(fault.call, fault.code) for fault in sample.faults] == [("nvmlDeviceGetPowerUsage", "UNKNOWN")]
    answers(fake, 0, {"nvmlDeviceGetPowerUsage": "NO_PERMISSION", "nvmlDeviceGetFanSpeed": "NO_PERMISSION"})
    assert not one(source).up


@pytest.mark.parametrize("code", ["UNINITIALIZED", "UNKNOWN"])
def test_a_driver_that_is_gone_fails_as_a_whole(code: str) -> None:
    """So that it is opened again."""
    fake = FakePynvml(devices=2)
    source = opened(fake)
    fake.answers["nvmlDeviceGetMemoryInfo"] = code
    with pytest.raises(GpuError) as error:
        source.sample({})
    assert error.value.code == code
    fake.answers["nvmlDeviceGetMemoryInfo", 0] = memory(GIB, 1)
    assert [sample.up for sample in source.sample({})] == [True, False]  # one that answers: it is not the driver


def test_what_is_not_supported_is_tried_again_after_a_minute() -> None:
    """MIG may have been switched off, a driver reloaded."""
    fake = FakePynvml()
    source = opened(fake)
    for _ in range(30):
        one(source)
    assert fake.calls["nvmlDeviceGetPowerUsage"] == 1
    answers(fake, 0, {"nvmlDeviceGetPowerUsage": 5000})
    fake.fields[0, 94] = number(9)
    assert one(source).values == {}
    for _ in range(30):
        sample = one(source)
    assert sample.values == {("power_watts", ""): 5, ("pcie_replays_total", ""): 9}


def test_a_device_is_found_when_it_comes_and_remembered_when_it_goes() -> None:
    """A device without a handle is looked for more often."""
    fake = FakePynvml()
    source = opened(fake)
    fake.answers |= FakePynvml(devices=2).answers
    fake.answers["nvmlDeviceGetHandleByIndex", 1] = "GPU_IS_LOST"
    for _ in range(60):
        samples = source.sample({})
    assert [(sample.info.uuid, sample.up) for sample in samples] == [("GPU-0", True), ("nvidia-1", False)]
    assert [fault.code for fault in samples[1].faults] == ["GPU_IS_LOST"]
    fake.answers["nvmlDeviceGetHandleByIndex", 1] = None
    for _ in range(5):
        samples = source.sample({})
    assert [(sample.info.uuid, sample.up) for sample in samples] == [("GPU-0", True), ("GPU-1", True)]


def test_a_process_in_several_lists_has_its_memory_once() -> None:
    """The larger number counts; what is not known is not 0."""
    fake = FakePynvml()
    fake.answers["nvmlDeviceGetComputeRunningProcesses_v3"] = [process(7, GIB), process(8, None)]
    fake.answers["nvmlDeviceGetGraphicsRunningProcesses_v3"] = [process(7, 2 * GIB), process(9, 3)]
    sample = one(opened(fake))
    assert sample.processes == {7: GpuProcess(2 * GIB), 8: GpuProcess(None), 9: GpuProcess(3)}


def test_the_newest_utilization_of_listed_processes_counts() -> None:
    """Idle ones have 0; the driver's percentages may exceed 100; a PID that is not listed is another namespace's."""
    fake = FakePynvml()
    fake.answers["nvmlDeviceGetComputeRunningProcesses_v3"] = [process(7, 1), process(8, 1)]
    fake.answers["nvmlDeviceGetProcessUtilization", 0, 0] = [
        utilization(7, 1000, 30, 1, 2),
        utilization(7, 2000, 120, 3, 4),
        utilization(7, 1500, 50),
        utilization(99, 2500, 60),
    ]
    fake.answers["nvmlDeviceGetProcessUtilization", 0, 2500] = [utilization(8, 3000, 10)]
    source = opened(fake)
    processes = one(source).processes
    assert processes is not None
    assert processes[7].utilization == {"gpu": 1.0, "encoder": 0.03, "decoder": 0.04}
    assert processes[8].utilization == {"gpu": 0.0, "encoder": 0.0, "decoder": 0.0}
    processes = one(source).processes  # asks for what has come since
    assert processes is not None
    assert processes[7].utilization["gpu"] == 0.0
    assert processes[8].utilization["gpu"] == 0.1


@pytest.mark.parametrize("code", ["NOT_SUPPORTED", "NOT_FOUND", "SUCCESS"])
def test_utilization_that_the_driver_does_not_give_is_absent(code: str) -> None:
    """An idle GPU has no samples, which is no fault."""
    fake = FakePynvml()
    fake.answers["nvmlDeviceGetComputeRunningProcesses_v3"] = [process(7, 1)]
    fake.answers["nvmlDeviceGetProcessUtilization"] = code
    sample = one(opened(fake))
    assert sample.faults == []
    assert sample.processes is not None
    assert sample.processes[7].utilization == (
        {} if code == "NOT_SUPPORTED" else {"gpu": 0.0, "encoder": 0.0, "decoder": 0.0}
    )


@pytest.mark.parametrize(
    ("version", "pids"),
    [("470.82", "host"), ("535.104.05", "host"), ("535.113.01", "own"), ("550.54.15", "own"), ("560", "own")],
)
def test_whose_pids_they_are_depends_on_the_driver(version: str, pids: str) -> None:
    """Since 535.113 those of our own namespace."""
    fake = FakePynvml()
    fake.answers["nvmlSystemGetDriverVersion"] = version
    assert one(opened(fake)).pids == pids


def test_mig_devices_add_up() -> None:
    """A process on two of them has the memory of both; one that has just been removed is left out."""
    fake = FakePynvml()
    fake.answers |= {
        "nvmlDeviceGetMigMode": (1, 1),
        "nvmlDeviceGetMaxMigDeviceCount": 4,
        ("nvmlDeviceGetMigDeviceHandleByIndex", 0): "NOT_FOUND",
    }
    handles = FakePynvml(devices=20)
    for at, instance in ((10, 1), (11, 2), (12, 3)):
        fake.answers["nvmlDeviceGetMigDeviceHandleByIndex", 0, at - 10] = handles.nvmlDeviceGetHandleByIndex(at)
        answers(
            fake,
            at,
            {
                "nvmlDeviceGetGpuInstanceId": instance,
                "nvmlDeviceGetComputeInstanceId": 0,
                "nvmlDeviceGetUUID": f"MIG-{instance}",
                "nvmlDeviceGetMemoryInfo": memory(10 * GIB, instance * GIB),
                "nvmlDeviceGetComputeRunningProcesses_v3": [process(7, instance * GIB)],
            },
        )
    fake.answers["nvmlDeviceGetGpuInstanceId", 12] = "INVALID_ARGUMENT"
    sample = one(opened(fake))
    assert sample.mig == [MigDevice("MIG-1", "1", "0"), MigDevice("MIG-2", "2", "0")]
    assert sample.values["mig_memory_total_bytes", "1"] == 10 * GIB
    assert [sample.values["mig_memory_used_bytes", str(instance)] for instance in (1, 2)] == [GIB, 2 * GIB]
    assert sample.processes == {7: GpuProcess(3 * GIB)}
    assert sample.faults == []


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("LIBRARY_NOT_FOUND", "NVIDIA_DRIVER_CAPABILITIES=utility"),
        ("NO_PERMISSION", "/dev/nvidiactl"),
        ("LIB_RM_VERSION_MISMATCH", "different versions"),
        ("UNKNOWN", "systemd is reloaded"),
        ("NOT_SUPPORTED", "error 3"),
    ],
)
def test_a_driver_that_cannot_be_initialised_is_an_error_with_advice(code: str, advice: str) -> None:
    """And nothing is left open."""
    fake = FakePynvml()
    fake.answers["nvmlInitWithFlags"] = code
    with pytest.raises(GpuError, match=advice) as error:
        opened(fake)
    assert (error.value.call, error.value.code) == ("nvmlInitWithFlags", code)
    assert fake.calls["nvmlDeviceGetCount"] == 0


def test_a_failure_after_the_initialisation_shuts_down() -> None:
    """The next attempt begins anew."""
    fake = FakePynvml()
    fake.answers["nvmlDeviceGetCount"] = "UNKNOWN"
    source = NvidiaSource(lambda: Nvml(fake))
    with pytest.raises(GpuError):
        source.open()
    assert fake.calls["nvmlShutdown"] == 1
    fake.answers["nvmlDeviceGetCount"] = 1
    source.open()
    assert one(source).up


def test_closing_gives_everything_back() -> None:
    """The event set and the library; a driver that is gone is no error."""
    fake = FakePynvml()
    source = opened(fake)
    source.close()
    assert (fake.calls["nvmlEventSetFree"], fake.calls["nvmlShutdown"]) == (1, 1)
    fake.answers["nvmlShutdown"] = "UNINITIALIZED"
    source.close()
    assert fake.calls["nvmlEventSetFree"] == 1


def test_a_driver_without_events_has_no_xids() -> None:
    """All else is read."""
    fake = FakePynvml()
    fake.answers["nvmlEventSetCreate"] = "NOT_SUPPORTED"
    answers(fake, 0, {"nvmlDeviceGetPowerUsage": 1000})
    sample = one(opened(fake))
    assert (sample.xids, sample.values) == ([], {("power_watts", ""): 1})


def test_a_new_driver_may_have_what_the_old_one_lacked() -> None:
    """Nothing that was learnt of a driver is held against its successor."""
    fake = FakePynvml()
    source = opened(fake)
    one(source)
    source.close()
    fake.answers["nvmlDeviceGetTemperatureV", 0] = 47
    source.open()
    assert one(source).values == {("temperature_celsius", "gpu"): 47}


def test_xids_are_asked_for_on_every_gpu() -> None:
    """With one event set."""
    fake = FakePynvml(devices=3)
    opened(fake)
    assert (fake.calls["nvmlEventSetCreate"], fake.calls["nvmlDeviceRegisterEvents"]) == (1, 3)


@pytest.mark.parametrize(
    ("function", "code", "known", "faults"),
    [
        ("nvmlDeviceGetMigMode", "NOT_SUPPORTED", True, 0),
        ("nvmlDeviceGetMigMode", "FUNCTION_NOT_FOUND", True, 0),
        ("nvmlDeviceGetMigMode", "UNKNOWN", True, 1),
        ("nvmlDeviceGetGraphicsRunningProcesses_v3", "UNKNOWN", False, 1),
        ("nvmlDeviceGetComputeRunningProcesses_v3", "NOT_SUPPORTED", False, 0),
    ],
)
def test_processes_are_known_where_the_driver_lists_them(function: str, code: str, known: bool, faults: int) -> None:
    """A GPU without MIG or graphics may have processes; without its list of compute processes, none are known."""
    fake = FakePynvml()
    answers(fake, 0, {"nvmlDeviceGetPowerUsage": 1000, function: code})
    sample = one(opened(fake))
    assert (sample.processes is not None, len(sample.faults)) == (known, faults)
