"""NVIDIA's GPUs, through NVML."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from prom_probe.collectors.gpu.source import GpuError, GpuInfo, GpuProcess, GpuSample, Key, MigDevice, Trees
from prom_probe.sources.nvml import FUNCTION_NOT_FOUND, NOT_SUPPORTED, Handle, Nvml, NvmlError

# A reading that a device or driver does not support is tried again after this many samples: MIG comes and goes.
_ASK_AGAIN = 60
# Samples between two listings of the devices; more often while one is lost.
_LIST_EVERY = 60
_LIST_LOST_EVERY = 5
# The most Xid events that one sample takes.
_MOST_XIDS = 100

_INVALID_ARGUMENT = 2
_QUIET = (NOT_SUPPORTED, FUNCTION_NOT_FOUND, _INVALID_ARGUMENT)
# This GPU is gone for now; others may work.
_LOST = {"GPU_IS_LOST", "RESET_REQUIRED", "GPU_NOT_FOUND"}
# The driver, or our access to it, is gone, as in a container after a reload of systemd.
_BROKEN = {"UNINITIALIZED", "DRIVER_NOT_LOADED", "LIB_RM_VERSION_MISMATCH", "UNKNOWN"}

# Since this driver version, process lists have the PIDs of our own PID namespace; older drivers give the machine's.
# (Utilisation samples do so only since 570.86; a sample whose PID is not in the list is ignored.)
_OWN_PIDS_SINCE = (535, 113)


class Field(NamedTuple):
    """A field of nvmlDeviceGetFieldValues: NVML_FI_DEV_*, the reading that it gives, and the divisor for base units."""

    number: int
    key: Key
    scale: float
    wraps: bool = False


FIELDS = (
    Field(83, ("energy_joules_total", ""), 1e3),  # mJ
    Field(82, ("temperature_celsius", "memory"), 1),
    Field(94, ("pcie_replays_total", ""), 1),
    Field(197, ("pcie_bytes_total", "transmit"), 1, wraps=True),
    Field(198, ("pcie_bytes_total", "receive"), 1, wraps=True),
    Field(3, ("ecc_errors_total", "corrected"), 1),
    Field(4, ("ecc_errors_total", "uncorrected"), 1),
    Field(74, ("throttle_seconds_total", "power"), 1e9),  # ns
    Field(75, ("throttle_seconds_total", "thermal"), 1e9),
    Field(76, ("throttle_seconds_total", "sync_boost"), 1e9),
    Field(77, ("throttle_seconds_total", "board_limit"), 1e9),
    Field(79, ("throttle_seconds_total", "reliability"), 1e9),
    Field(269, ("throttle_seconds_total", "sw_thermal"), 1e9),
    Field(270, ("throttle_seconds_total", "hw_thermal"), 1e9),
    Field(271, ("throttle_seconds_total", "hw_power_brake"), 1e9),
)
_MEMORY_TEMPERATURE = ("temperature_celsius", "memory")


class NvmlReading(NamedTuple):
    """A call and the readings that it gives. `call` is a function of nvidia-ml-py or a method of `Nvml`."""

    call: str
    arguments: tuple[object, ...]
    take: Callable[[Any, dict[Key, float]], None]


def _percent(name: str, label: str = "") -> Callable[[Any, dict[Key, float]], None]:
    def take(result: Any, values: dict[Key, float]) -> None:
        values[name, label] = (result[0] if isinstance(result, list) else result) / 100

    return take


def _scaled(name: str, label: str, scale: float) -> Callable[[Any, dict[Key, float]], None]:
    def take(result: Any, values: dict[Key, float]) -> None:
        values[name, label] = result * scale

    return take


def _take_rates(result: Any, values: dict[Key, float]) -> None:
    values["utilization_ratio", "gpu"] = result.gpu / 100
    values["memory_bandwidth_utilization_ratio", ""] = result.memory / 100


def _take_memory(result: Any, values: dict[Key, float]) -> None:
    if result.total:  # a GPU with unified memory has none of its own
        values["memory_total_bytes", ""] = result.total
        values["memory_used_bytes", ""] = result.used
        if result.reserved is not None:
            values["memory_reserved_bytes", ""] = result.reserved


def _take_milliwatts(name: str) -> Callable[[Any, dict[Key, float]], None]:
    def take(result: Any, values: dict[Key, float]) -> None:
        values[name, ""] = result / 1000

    return take


READINGS = (
    NvmlReading("memory", (), _take_memory),
    NvmlReading("nvmlDeviceGetUtilizationRates", (), _take_rates),
    NvmlReading("nvmlDeviceGetEncoderUtilization", (), _percent("utilization_ratio", "encoder")),
    NvmlReading("nvmlDeviceGetDecoderUtilization", (), _percent("utilization_ratio", "decoder")),
    NvmlReading("nvmlDeviceGetJpgUtilization", (), _percent("utilization_ratio", "jpeg")),
    NvmlReading("nvmlDeviceGetOfaUtilization", (), _percent("utilization_ratio", "ofa")),
    NvmlReading("temperature", (), _scaled("temperature_celsius", "gpu", 1)),
    NvmlReading("nvmlDeviceGetPowerUsage", (), _take_milliwatts("power_watts")),
    NvmlReading("nvmlDeviceGetEnforcedPowerLimit", (), _take_milliwatts("power_limit_watts")),
    NvmlReading("nvmlDeviceGetFanSpeed", (), _percent("fan_speed_ratio")),
    NvmlReading("nvmlDeviceGetClockInfo", (0,), _scaled("clock_hertz", "graphics", 1e6)),
    NvmlReading("nvmlDeviceGetClockInfo", (1,), _scaled("clock_hertz", "sm", 1e6)),
    NvmlReading("nvmlDeviceGetClockInfo", (2,), _scaled("clock_hertz", "memory", 1e6)),
    NvmlReading("nvmlDeviceGetClockInfo", (3,), _scaled("clock_hertz", "video", 1e6)),
)


class _Device:
    """One GPU, and what is known of it."""

    def __init__(self, info: GpuInfo, handle: Handle, nvml: Nvml) -> None:
        self.info = info
        self.calls = [(reading, _bind(nvml, reading, handle)) for reading in READINGS]
        self.handle = handle
        self.address = nvml.address(handle)
        self.lacks: dict[object, int] = {}  # unsupported readings: the number of the sample that tries again
        self.fields: tuple[Field, ...] = FIELDS
        self.since_us = 0  # time of the newest utilisation sample
        self.xids: list[int] = []


class NvidiaSource:
    """See `GpuSource`."""

    name = "nvidia"

    def __init__(self, make_nvml: Callable[[], Nvml] = Nvml) -> None:
        self._make_nvml = make_nvml
        self._nvml: Nvml | None = None
        self._devices: dict[str, _Device] = {}  # by PCI address
        self._lost: dict[int, NvmlError] = {}  # by index: devices without a handle
        self._number = 0
        self._events: Any = None
        self._version = ""

    def open(self) -> None:
        nvml = self._nvml or self._make_nvml()
        self._nvml = nvml
        try:
            nvml.init()
        except NvmlError as error:
            raise GpuError(error.call, error.code, _advice(error)) from None
        try:
            self._version = nvml.driver_version()
            self._number = 0
            self._devices = {}
            self._list(nvml)
        except NvmlError as error:
            self.close()
            raise GpuError(error.call, error.code, error.text) from None

    def sample(self, trees: Trees) -> list[GpuSample]:
        nvml = self._nvml
        assert nvml is not None
        self._number += 1
        try:
            if self._number % (_LIST_LOST_EVERY if self._lost or not self._devices else _LIST_EVERY) == 0:
                self._list(nvml)
            self._take_xids(nvml)
        except NvmlError as error:
            raise GpuError(error.call, error.code, error.text) from None
        samples = [self._sample(nvml, device) for device in self._devices.values()]
        broken = [error for sample in samples for error in sample.faults if error.code in _BROKEN]
        if broken and not any(sample.up for sample in samples):
            raise broken[0]
        return samples + [self._without_handle(index, error) for index, error in self._lost.items()]

    def _without_handle(self, index: int, error: NvmlError) -> GpuSample:
        """The sample of a GPU that was lost before it could be identified."""
        info = GpuInfo(f"nvidia-{index}", str(index), "nvidia", "", "", self._version)
        return GpuSample(info, up=False, faults=[GpuError(error.call, error.code, error.text)])

    def close(self) -> None:
        nvml = self._nvml
        if nvml is None:
            return
        try:
            if self._events is not None:
                nvml.free_events(self._events)
        except NvmlError:
            pass
        self._events = None
        try:
            nvml.shutdown()
        except NvmlError:
            pass  # not initialised, or gone

    def _list(self, nvml: Nvml) -> None:
        """List the devices. A device that has been seen stays known: without a handle it is lost."""
        self._lost = {}
        for index, handle in nvml.handles():
            if isinstance(handle, NvmlError):
                if not any(device.info.index == str(index) for device in self._devices.values()):
                    self._lost[index] = handle
                continue
            try:
                address = nvml.pci_address(handle)
                if address not in self._devices or self._devices[address].address != nvml.address(handle):
                    self._devices[address] = self._make(nvml, index, handle, address)
            except NvmlError as error:
                self._lost[index] = error

    def _make(self, nvml: Nvml, index: int, handle: Handle, address: str) -> _Device:
        info = GpuInfo(
            str(nvml.call("nvmlDeviceGetUUID", handle)),
            str(index),
            "nvidia",
            str(nvml.call("nvmlDeviceGetName", handle)),
            address,
            self._version,
        )
        device = _Device(info, handle, nvml)
        try:
            if self._events is None:
                self._events = nvml.event_set()
            nvml.register_xids(handle, self._events)
        except NvmlError:
            pass  # this driver has no events, so there are no Xids
        return device

    def _take_xids(self, nvml: Nvml) -> None:
        if self._events is None:
            return
        by_address = {device.address: device for device in self._devices.values()}
        for _ in range(_MOST_XIDS):
            try:
                event = nvml.next_xid(self._events)
            except NvmlError:
                return  # a lost GPU; its other calls report that
            if event is None:
                return
            device = by_address.get(event[0])
            if device is not None:
                device.xids.append(event[1])

    def _sample(self, nvml: Nvml, device: _Device) -> GpuSample:
        sample = GpuSample(device.info, xids=device.xids)
        device.xids = []
        attempt = _Attempts(self._number, device, sample)
        for reading, call in device.calls:
            result = attempt.read(reading, call)
            if result is not None:
                reading.take(result, sample.values)
        attempt.read("nvmlDeviceGetFieldValues", lambda: self._read_fields(nvml, device, sample))
        attempt.read("processes", lambda: self._read_processes(nvml, device, sample, attempt))
        if sample.faults and not sample.values and not sample.wrapping:
            sample.up = False  # one failed reading may be a special case; when all fail, the GPU is down
        return sample

    def _read_fields(self, nvml: Nvml, device: _Device, sample: GpuSample) -> None:
        fields = device.fields if self._number % _ASK_AGAIN else FIELDS
        supported = []
        for field, (code, value, short) in zip(
            fields, nvml.fields(device.handle, [field.number for field in fields]), strict=True
        ):
            if code in _QUIET:
                continue
            supported.append(field)
            if code:
                name = nvml.code(code)
                sample.faults.append(GpuError("nvmlDeviceGetFieldValues", name, f"field {field.number}: {name}"))
            elif field.wraps:
                sample.wrapping[field.key] = int(value), 1 << (32 if short else 64)
            elif field.key != _MEMORY_TEMPERATURE or value:
                sample.values[field.key] = value / field.scale
        device.fields = tuple(supported)

    def _read_processes(self, nvml: Nvml, device: _Device, sample: GpuSample, attempt: "_Attempts") -> None:
        migs = attempt.read("mig", lambda: nvml.mig_handles(device.handle)) or []
        processes: dict[int, GpuProcess] = {}
        for mig in migs:
            self._read_mig(nvml, mig, sample, processes)
        if not migs:
            _add_processes(nvml, device.handle, processes)
            if attempt.read("utilization", lambda: self._read_utilization(nvml, device, processes)) is None:
                for process in processes.values():
                    process.utilization = {}
        numbers = tuple(int(part) for part in self._version.split(".")[:2] if part.isdigit())
        sample.pids = "own" if numbers >= _OWN_PIDS_SINCE else "host"
        sample.processes = processes

    def _read_mig(self, nvml: Nvml, mig: Handle, sample: GpuSample, processes: dict[int, GpuProcess]) -> None:
        try:
            instance = str(nvml.call("nvmlDeviceGetGpuInstanceId", mig))
            compute = str(nvml.call("nvmlDeviceGetComputeInstanceId", mig))
            sample.mig.append(MigDevice(str(nvml.call("nvmlDeviceGetUUID", mig)), instance, compute))
            memory = nvml.memory(mig)
            sample.values["mig_memory_total_bytes", instance] = memory.total
            sample.values["mig_memory_used_bytes", instance] = memory.used
            _add_processes(nvml, mig, processes)
        except NvmlError as error:
            if error.number not in _QUIET:  # an invalid handle: it has just been removed
                raise

    def _read_utilization(self, nvml: Nvml, device: _Device, processes: dict[int, GpuProcess]) -> bool:
        newest: dict[int, int] = {}
        for process in processes.values():
            process.utilization = {"gpu": 0.0, "encoder": 0.0, "decoder": 0.0}
        for use in nvml.process_utilization(device.handle, device.since_us):
            device.since_us = max(device.since_us, use.time_us)
            listed = processes.get(use.pid)
            if listed is None or use.time_us < newest.get(use.pid, 0):
                continue
            newest[use.pid] = use.time_us
            listed.utilization = {
                "gpu": min(use.sm, 100) / 100,
                "encoder": min(use.encoder, 100) / 100,
                "decoder": min(use.decoder, 100) / 100,
            }
        return True


class _Attempts:
    """The calls of one device's sample: failures are recorded, and once the GPU is lost no more calls are made."""

    def __init__(self, number: int, device: _Device, sample: GpuSample) -> None:
        self._number = number
        self._device = device
        self._sample = sample

    def read(self, what: object, call: Callable[[], Any]) -> Any:
        """The result of `call`; None where it fails or is known not to be supported."""
        lacks = self._device.lacks
        if not self._sample.up or lacks.get(what, 0) > self._number:
            return None
        try:
            return call()
        except NvmlError as error:
            if error.number in _QUIET:
                lacks[what] = self._number + _ASK_AGAIN
                return None
            self._sample.faults.append(GpuError(error.call, error.code, error.text))
            if error.code in _LOST or (error.code in _BROKEN and error.code != "UNKNOWN"):
                self._sample.up = False
                self._sample.values.clear()
                self._sample.wrapping.clear()
            return None


def _bind(nvml: Nvml, reading: NvmlReading, handle: Handle) -> Callable[[], Any]:
    if reading.call.startswith("nvml"):
        return partial(nvml.call, reading.call, handle, *reading.arguments)
    return partial(getattr(nvml, reading.call), handle, *reading.arguments)


def _add_processes(nvml: Nvml, handle: Handle, processes: dict[int, GpuProcess]) -> None:
    """Add a device's processes. A process in several of its lists counts once; the memory of MIG devices adds up."""
    used: dict[int, int | None] = {}
    for process in nvml.processes(handle):
        before = used.get(process.pid)
        used[process.pid] = process.used if before is None else max(before, process.used or 0)
    for pid, memory in used.items():
        entry = processes.setdefault(pid, GpuProcess())
        if memory is not None:
            entry.memory = (entry.memory or 0) + memory


def _advice(error: NvmlError) -> str:
    """The text for a failed initialisation, with advice."""
    return f"{error.text}{_ADVICE.get(error.code, '')}"


_ADVICE = {
    "LIBRARY_NOT_FOUND": ": libnvidia-ml.so.1 is not here; a container gets it with NVIDIA_DRIVER_CAPABILITIES=utility",
    "LIB_RM_VERSION_MISMATCH": ": the library and the kernel's driver are of different versions; rebooting helps",
    "NO_PERMISSION": ": /dev/nvidiactl cannot be opened",
    "UNKNOWN": ": a container loses access to its GPUs when systemd is reloaded; restarting it helps",
}
