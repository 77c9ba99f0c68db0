"""The interface of a source of GPU readings, and its samples: base units for every vendor."""

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

# A reading's name in `families.READINGS`, and the value of its label besides `uuid` ("" where it has none).
Key: TypeAlias = tuple[str, str]

# Where the PIDs of a sample are from: our own PID namespace, the machine's, or procfs, where they always match.
PidKind = Literal["own", "host", "procfs"]

# The PIDs of each watched tree.
Trees: TypeAlias = Mapping[str, list[int]]


class GpuError(Exception):
    """A driver call that failed: its name, the error's name ("GPU_IS_LOST", "EACCES") and a text for the log.

    Raised by `open` or `sample`, it means that the whole source failed; it is closed, and opened again later.
    """

    def __init__(self, call: str, code: str, text: str) -> None:
        super().__init__(f"{call}: {text}")
        self.call = call
        self.code = code
        self.text = text


class GpuInfo(msgspec.Struct, frozen=True, array_like=True):
    """A GPU's identity; the labels of `gpu_info`."""

    uuid: str
    index: str
    vendor: str
    name: str
    pci_bus_id: str
    driver_version: str


class GpuProcess(msgspec.Struct):
    """What one process uses of one GPU; None and empty where it is not known."""

    memory: float | None = None  # bytes
    utilization: dict[str, float] = {}  # ratio by engine
    engine_seconds: dict[str, float] = {}  # by engine; never falls


class MigDevice(msgspec.Struct, frozen=True):
    uuid: str
    gpu_instance: str
    compute_instance: str


class GpuSample(msgspec.Struct):
    """One GPU's newest readings."""

    info: GpuInfo
    up: bool = True
    suspended: bool | None = None  # None where the device cannot be suspended
    values: dict[Key, float] = {}
    # Counters that wrap: the raw value, and the value at which it wraps; the collector adds up the increases.
    wrapping: dict[Key, tuple[int, int]] = {}
    xids: list[int] = []  # reported since the last sample
    mig: list[MigDevice] = []
    processes: dict[int, GpuProcess] | None = None  # by PID; None where they are not known
    denied: bool = False  # the processes are not known because one of the trees' processes denies access
    pids: PidKind = "procfs"
    faults: list[GpuError] = []


class GpuSource(Protocol):
    """A driver's GPUs. Called by one thread, not the collector's: any call may block for ever."""

    name: str

    def open(self) -> None:
        """Prepare for `sample`; raises GpuError. Called again some time after a failure."""

    def sample(self, trees: Trees) -> list[GpuSample]:
        """A sample of every GPU, lost ones included; raises GpuError where the driver no longer answers."""

    def close(self) -> None:
        """Release what `open` acquired; never raises."""
