"""GPUs that the kernel shows in sysfs: AMD's and Intel's; of others, what their processes' open files show."""

import errno
from collections.abc import Callable
from typing import NamedTuple

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.clients import DrmClients
from prom_probe.collectors.gpu.source import GpuError, GpuInfo, GpuProcess, GpuSample, Key, Trees
from prom_probe.sources.amdgpu_metrics import ENERGY_UNIT_J, parse_energy
from prom_probe.sources.descriptors import read_once
from prom_probe.sources.drm_card import DrmCard, list_cards, read_number, read_suspended, read_text
from prom_probe.sources.errors import ParseError
from prom_probe.sources.gpu_hwmon import GpuSensor, find_hwmon, list_gpu_sensors, read_first
from prom_probe.sources.kfd import read_kfd_addresses, read_kfd_memory
from prom_probe.sources.pid_namespace import has_host_pids

# Samples between two listings of the cards, which come and go.
_LIST_EVERY = 60


class File(NamedTuple):
    """A file with one number: the first of `names` that exists, and the divisor that gives base units."""

    key: Key
    names: tuple[str, ...]
    divisor: float


# Below the card's directory.
AMD_FILES = (
    File(("utilization_ratio", "gpu"), ("device/gpu_busy_percent",), 100),
    File(("memory_bandwidth_utilization_ratio", ""), ("device/mem_busy_percent",), 100),
    File(("memory_total_bytes", ""), ("device/mem_info_vram_total",), 1),
    File(("memory_used_bytes", ""), ("device/mem_info_vram_used",), 1),
)
INTEL_FILES = (
    File(
        ("clock_hertz", "gt"),
        ("gt_cur_freq_mhz", "gt/gt0/rps_cur_freq_mhz", "device/tile0/gt0/freq0/cur_freq"),
        1e-6,
    ),
)
# Below the hwmon directory.
AMD_HWMON = (
    File(("power_watts", ""), ("power1_average", "power1_input"), 1e6),
    File(("power_limit_watts", ""), ("power1_cap",), 1e6),
    File(("fan_speed_ratio", ""), ("pwm1",), 255),
)
INTEL_HWMON = (
    File(("power_watts", ""), ("power1_input",), 1e6),
    File(("power_limit_watts", ""), ("power1_max",), 1e6),
    File(("energy_joules_total", ""), ("energy1_input",), 1e6),
)


class _Card:
    """A card, and what is known of it."""

    def __init__(self, card: DrmCard, sysfs: str) -> None:
        self.card = card
        self.hwmon: str | None = None
        self.sensors: list[GpuSensor] | None = None  # None until the first sample for which the card is awake
        device = card.device
        uuid = read_text(f"{device}/unique_id") or card.address
        name = read_text(f"{device}/product_name") or f"{card.source} {read_text(f'{device}/device')}".strip()
        version = read_text(f"{sysfs}/module/{card.driver}/version") or read_text("/proc/sys/kernel/osrelease")
        vendor = card.driver if card.source == "drm" else card.source
        self.info = GpuInfo(uuid, card.number, vendor, name, card.address, version)


class DrmSource:
    """See `GpuSource`. `name`: "amd" and "intel" for these vendors' cards, "drm" for others."""

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self._context = context
        self._cards: list[_Card] = []
        self._clients = DrmClients(context.procfs, context.odd_rows.of("proc_pid_fdinfo"))
        self._kfd: dict[str, str] = {}
        self._number = 0

    def open(self) -> None:
        self._list()
        if not self._cards:
            raise GpuError("list", "NO_DEVICE", f"no {self.name} card in {self._context.sysfs}/class/drm")

    def close(self) -> None:
        pass

    def sample(self, trees: Trees) -> list[GpuSample]:
        self._number += 1
        if self._number % _LIST_EVERY == 0:
            self._list()
        samples = [self._sample(card) for card in self._cards]
        by_address = {sample.info.pci_bus_id: sample for sample in samples}
        # Clients of a device that is not on PCI give no address: they belong to the only card.
        alone = samples[0].info.pci_bus_id if len(samples) == 1 and ":" not in samples[0].info.pci_bus_id else None
        used = self._clients.read(trees, lambda device: device in by_address or (alone is not None and not device))
        for sample in samples:
            sample.denied = bool(self._clients.denied)
            sample.faults += self._clients.denied
            sample.processes = None if sample.denied else {}
        for address, processes in used.items():
            if not self._clients.denied:
                by_address[address or alone or ""].processes = processes
        if self.name == "amd":
            self._add_kfd(by_address)
        return samples

    def _list(self) -> None:
        old = {card.card: card for card in self._cards}
        cards = [card for card in list_cards(self._context.sysfs) if card.source == self.name]
        self._cards = [old.get(card) or _Card(card, self._context.sysfs) for card in cards]
        if self.name == "amd":
            self._kfd = read_kfd_addresses(self._context.sysfs)

    def _sample(self, card: _Card) -> GpuSample:
        sample = GpuSample(card.info, suspended=read_suspended(card.card.device))
        if sample.suspended:
            return sample
        if card.sensors is None:
            _attempt(sample, "hwmon", lambda: self._find_sensors(card))
        files, hwmon_files = _FILES[self.name]
        for file in files:
            _attempt(sample, file.names[0], _read(sample, card.card.path, file))
        if card.hwmon is not None:
            for file in hwmon_files:
                _attempt(sample, file.names[0], _read(sample, card.hwmon, file))
        for sensor in card.sensors or ():
            _attempt(sample, f"{sensor.kind}_input", _read_sensor(sample, sensor))
        if self.name == "amd":
            _attempt(sample, "gpu_metrics", lambda: _read_energy(sample, card.card.device))
        return sample

    def _find_sensors(self, card: _Card) -> None:
        card.hwmon = find_hwmon(card.card.device)
        card.sensors = list_gpu_sensors(card.hwmon) if card.hwmon is not None else []

    def _add_kfd(self, by_address: dict[str, GpuSample]) -> None:
        """Add ROCm processes. They have the machine's PIDs, so they are used only where procfs has these too."""
        if not self._kfd or not has_host_pids(self._context.procfs):
            return
        try:
            used = read_kfd_memory(self._context.sysfs)
        except (OSError, ParseError) as error:
            for sample in by_address.values():
                sample.faults.append(GpuError("kfd", "READ", str(error)))
            return
        for gpu_id, processes in used.items():
            of = by_address.get(self._kfd.get(gpu_id, ""))
            if of is None or of.processes is None:
                continue
            for pid, memory in processes.items():
                process = of.processes.setdefault(pid, GpuProcess(0.0, {}, {}))
                process.memory = max(process.memory or 0.0, memory)


_FILES = {"amd": (AMD_FILES, AMD_HWMON), "intel": (INTEL_FILES, INTEL_HWMON), "drm": ((), ())}


def _read(sample: GpuSample, directory: str, file: File) -> Callable[[], None]:
    def read() -> None:
        value = read_first(directory, *file.names)
        if value is not None:
            sample.values[file.key] = value / file.divisor

    return read


def _read_sensor(sample: GpuSample, sensor: GpuSensor) -> Callable[[], None]:
    def read() -> None:
        value = read_number(sensor.path)
        if value is None:
            return
        if sensor.kind == "temp":
            sample.values["temperature_celsius", sensor.label] = value / 1000
        else:
            sample.values["clock_hertz", sensor.label] = value

    return read


def _read_energy(sample: GpuSample, device: str) -> None:
    try:
        energy = parse_energy(read_once(f"{device}/gpu_metrics"))
    except FileNotFoundError:
        return
    if energy is not None:
        sample.values["energy_joules_total", ""] = energy * ENERGY_UNIT_J


def _attempt(sample: GpuSample, call: str, read: Callable[[], None]) -> None:
    try:
        read()
    except ParseError as error:
        sample.faults.append(GpuError(call, "PARSE", str(error)))
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "READ")
        sample.faults.append(GpuError(call, code, str(error)))
        if error.errno in (errno.ENODEV, errno.ENXIO, errno.EIO):
            sample.up = False
