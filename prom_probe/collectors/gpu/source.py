"""What a source of GPU readings is, and what it gives: base units, whatever the vendor."""

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

# A reading's name in `families.READINGS`, and the value of its label besides `uuid` ("" where it has none).
Key: TypeAlias = tuple[str, str]

# Whose numbers the PIDs of a sample are: our PID namespace's, the machine's, or procfs's own, which always fit.
PidKind = Literal["own", "host", "procfs"]

# The members of each watched tree.
Trees: TypeAlias = Mapping[str, list[int]]


class GpuError(Exception):
    """A driver call that failed: its name, the error's name ("GPU_IS_LOST", "EACCES") and what to say of it.

    Out of `open` or `sample` it means that nothing of the source works; it is closed then, and opened again later.
    """

    def __init__(self, call: str, code: str, text: str) -> None:
        super().__init__(f"{call}: {text}")
        self.call = call
        self.code = code
        self.text = text


class GpuInfo(msgspec.Struct, frozen=True, array_like=True):
    """Which GPU it is; the labels of `gpu_info`."""

    uuid: str
    index: str
    vendor: str
    name: str
    pci_bus_id: str
    driver_version: str


class GpuProcess(msgspec.Struct):
    """What one process uses of one GPU. None and empty: not known."""

    memory: float | None = None  # bytes
    utilization: dict[str, float] = {}  # ratio by engine
    engine_seconds: dict[str, float] = {}  # by engine, ever growing


class MigDevice(msgspec.Struct, frozen=True):
    uuid: str
    gpu_instance: str
    compute_instance: str


class GpuSample(msgspec.Struct):
    """One GPU now."""

    info: GpuInfo
    up: bool = True
    suspended: bool | None = None  # None where it cannot be
    values: dict[Key, float] = {}
    # Counters of the driver's that wrap: the raw value and where it does; the collector adds up.
    wrapping: dict[Key, tuple[int, int]] = {}
    xids: list[int] = []  # that came since the last sample
    mig: list[MigDevice] = []
    processes: dict[int, GpuProcess] | None = None  # by PID; None where they are not known
    denied: bool = False  # they are not known because one of the trees' processes may not be looked at
    pids: PidKind = "procfs"
    faults: list[GpuError] = []


class GpuSource(Protocol):
    """A driver's GPUs. One thread calls it, which is not the collector's: any call may block for ever."""

    name: str

    def open(self) -> None:
        """Make ready; raises GpuError. Called again some time after it failed."""

    def sample(self, trees: Trees) -> list[GpuSample]:
        """Every GPU, the lost ones too; raises GpuError where nothing answers any more."""

    def close(self) -> None:
        """Give back what `open` took; never raises."""
