"""NVIDIA's management library (NVML) through nvidia-ml-py: calls that work with every driver from 450 on, raw units.

Only the GPU worker makes an `Nvml`, which imports the package: import and library take 20 MB that are never released.
Reference: docs.nvidia.com/deploy/nvml-api.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

Handle: TypeAlias = Any

# Return codes (nvmlReturn_t) that are compared by number.
NOT_SUPPORTED = 3
NOT_FOUND = 6
TIMEOUT = 10
FUNCTION_NOT_FOUND = 13

_INIT_FLAG_NO_GPUS = 1  # initialise even without a device
_MEMORY_V2 = 0x02000028
_XID_CRITICAL_ERROR = 0x8


class NvmlError(Exception):
    """A call that failed: its name, the nvmlReturn_t as a number and by name ("GPU_IS_LOST"), and a text."""

    def __init__(self, call: str, number: int, code: str, text: str) -> None:
        super().__init__(f"{call}: {text}")
        self.call = call
        self.number = number
        self.code = code
        self.text = text


class GpuMemory(NamedTuple):
    """Bytes. `reserved` is None with drivers before 510, which count it as used."""

    total: int
    used: int
    reserved: int | None


class ProcessMemory(NamedTuple):
    pid: int
    used: int | None  # bytes


class ProcessUse(NamedTuple):
    """Percent of the engines' time."""

    pid: int
    time_us: int
    sm: int
    encoder: int
    decoder: int


class Nvml:
    """The library. Raises NvmlError; any call may block. To be used by one thread at a time."""

    def __init__(self, library: Any = None) -> None:
        """`library` is nvidia-ml-py's module."""
        if library is None:
            import pynvml

            library = pynvml
        self._nvml = library
        self._codes = {
            value: name.removeprefix("NVML_ERROR_")
            for name, value in vars(library).items()
            if name.startswith("NVML_ERROR_") and isinstance(value, int)
        }
        self._lacking: set[str] = set()  # functions that this driver does not have

    def code(self, number: int) -> str:
        """The name of a return code."""
        return str(self._codes.get(number, number))

    def call(self, name: str, *arguments: object) -> Any:
        """Call nvidia-ml-py's function of this name. A function that the driver lacks is tried only once."""
        if name in self._lacking:
            raise NvmlError(name, FUNCTION_NOT_FOUND, "FUNCTION_NOT_FOUND", "the driver does not have it")
        try:
            return getattr(self._nvml, name)(*arguments)
        except self._nvml.NVMLError as error:
            number = int(error.value)  # the exception itself cannot be compared or hashed
            if number == FUNCTION_NOT_FOUND:
                self._lacking.add(name)
            raise NvmlError(name, number, self.code(number), str(error)) from None

    def first(self, *calls: tuple[Any, ...]) -> Any:
        """The first of these calls whose function the driver has."""
        for name, *arguments in calls[:-1]:
            try:
                return self.call(name, *arguments)
            except NvmlError as error:
                if error.number != FUNCTION_NOT_FOUND:
                    raise
        name, *arguments = calls[-1]
        return self.call(name, *arguments)

    def init(self) -> None:
        self._lacking.clear()
        self.call("nvmlInitWithFlags", _INIT_FLAG_NO_GPUS)

    def shutdown(self) -> None:
        self.call("nvmlShutdown")

    def driver_version(self) -> str:
        return str(self.call("nvmlSystemGetDriverVersion"))

    def handles(self) -> list[tuple[int, Handle | NvmlError]]:
        """Each device's index, with its handle or the error that says why it has none."""
        found: list[tuple[int, Handle | NvmlError]] = []
        for index in range(self.call("nvmlDeviceGetCount")):
            try:
                found.append((index, self.call("nvmlDeviceGetHandleByIndex", index)))
            except NvmlError as error:
                found.append((index, error))
        return found

    def address(self, handle: Handle) -> int:
        """A number by which handles can be compared."""
        import ctypes

        return ctypes.cast(handle, ctypes.c_void_p).value or 0

    def pci_address(self, handle: Handle) -> str:
        """As sysfs writes it: domain:bus:device.function, 0000:01:00.0."""
        domain, _, rest = str(self.call("nvmlDeviceGetPciInfo_v3", handle).busId).lower().partition(":")
        return f"{domain[-4:]}:{rest}"

    def memory(self, handle: Handle) -> GpuMemory:
        try:
            info = self.call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
            return GpuMemory(info.total, info.used, info.reserved)
        except NvmlError as error:
            if error.number != FUNCTION_NOT_FOUND:
                raise
        finally:
            self._lacking.discard(
                "nvmlDeviceGetMemoryInfo"
            )  # one name in Python stands for two functions of the driver
        info = self.call("nvmlDeviceGetMemoryInfo", handle)
        return GpuMemory(info.total, info.used, None)

    def temperature(self, handle: Handle) -> int:
        """Degrees Celsius."""
        return int(self.first(("nvmlDeviceGetTemperatureV", handle, 0), ("nvmlDeviceGetTemperature", handle, 0)))

    def fields(self, handle: Handle, numbers: Sequence[int]) -> list[tuple[int, float | int, bool]]:
        """(return code, value, whether it has 32 bits) of each field (NVML_FI_DEV_*), in one call."""
        # With scopes given, nvidia-ml-py does not have to raise an exception for each field.
        data = bytes(self.call("nvmlDeviceGetFieldValues", handle, [(number, 0) for number in numbers]))
        return [
            (code, value if kind == _UNSIGNED_LONG_LONG else _FIELD_TYPES[kind](value), kind == _UNSIGNED_INT)
            for _, _, _, _, kind, code, value in _FIELD_VALUE.iter_unpack(data)
        ]

    def processes(self, handle: Handle) -> list[ProcessMemory]:
        """Compute, MPS and graphics processes; a process may be listed as more than one of these."""
        found = []
        for kind in ("Compute", "MPSCompute", "Graphics"):
            name = f"nvmlDeviceGet{kind}RunningProcesses"
            try:
                listed = self.first((f"{name}_v3", handle), (f"{name}_v2", handle))
            except NvmlError as error:
                if error.number in (NOT_SUPPORTED, FUNCTION_NOT_FOUND) and kind != "Compute":
                    continue
                raise
            found += [ProcessMemory(process.pid, process.usedGpuMemory) for process in listed]
        return found

    def process_utilization(self, handle: Handle, since_us: int) -> list[ProcessUse]:
        """The samples since `since_us` of the driver's clock; none for an idle GPU."""
        try:
            samples = self.first(
                ("nvmlDeviceGetProcessesUtilizationInfo", handle, since_us),
                ("nvmlDeviceGetProcessUtilization", handle, since_us),
            )
        except NvmlError as error:
            # nvidia-ml-py raises 0 where there are no samples.
            if error.number in (0, NOT_FOUND):
                return []
            raise
        return [ProcessUse(s.pid, s.timeStamp, s.smUtil, s.encUtil, s.decUtil) for s in samples]

    def mig_handles(self, handle: Handle) -> list[Handle]:
        """The current MIG devices; none where MIG is off or not supported. They may change at any time."""
        try:
            if not self.call("nvmlDeviceGetMigMode", handle)[0]:
                return []
            most = self.call("nvmlDeviceGetMaxMigDeviceCount", handle)
        except NvmlError as error:
            if error.number in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                return []
            raise
        found = []
        for index in range(most):
            try:
                found.append(self.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index))
            except NvmlError as error:
                if error.number != NOT_FOUND:
                    raise
        return found

    def event_set(self) -> Any:
        return self.call("nvmlEventSetCreate")

    def register_xids(self, handle: Handle, events: Any) -> None:
        self.call("nvmlDeviceRegisterEvents", handle, _XID_CRITICAL_ERROR, events)

    def next_xid(self, events: Any) -> tuple[int, int] | None:
        """(address of the device's handle, Xid) of the next pending event; None where there is none."""
        try:
            data = self.call("nvmlEventSetWait_v2", events, 0)
        except NvmlError as error:
            if error.number == TIMEOUT:
                return None
            raise
        return self.address(data.device), int(data.eventData)

    def free_events(self, events: Any) -> None:
        self.call("nvmlEventSetFree", events)


# nvmlFieldValue_t: field, scope, timestamp, latency, nvmlValueType_t, nvmlReturn_t, a union of eight bytes.
_FIELD_VALUE = struct.Struct("@IIqqIIQ")
_UNSIGNED_INT = 1
_UNSIGNED_LONG_LONG = 3


def _reinterpreted(code: str) -> Callable[[int], float | int]:
    """Reads the union's first bytes as another type. Every machine that NVML supports is little-endian."""
    kind = struct.Struct(f"<{code}")

    def read(value: int) -> float | int:
        number: float | int = kind.unpack_from(value.to_bytes(8, "little"))[0]
        return number

    return read


# By nvmlValueType_t. An unknown type is read as eight bytes.
_FIELD_TYPES: dict[int, Callable[[int], float | int]] = defaultdict(
    lambda: _reinterpreted("Q"),
    {kind: _reinterpreted(code) for kind, code in enumerate(("d", "I", "Q", "Q", "q", "i", "H"))},
)
