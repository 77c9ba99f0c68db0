"""The system collector without /proc: the series that psutil gives by the same definition, and no others."""

import os
from array import array

import psutil

from prom_probe.collectors.base import Context
from prom_probe.collectors.system import device_families, families
from prom_probe.collectors.system.devices import Devices
from prom_probe.collectors.system.filesystems import Filesystems
from prom_probe.collectors.system.section import Host
from prom_probe.model.definition import READABLE
from prom_probe.model.family import column
from prom_probe.model.layout import Layout
from prom_probe.sources.filesystems import Mount

_CPU_MODES = ("user", "nice", "system", "idle")
_NETWORK = tuple(definition for definition in device_families.NETWORK if "_drop_" not in definition.family.name)
_DISK = tuple(definition for _, _, definition in device_families.DISK if "macOS" in definition.platforms)


class _Filesystems(Filesystems):
    def list_items(self) -> list[Mount]:
        """Filesystems on devices, each once, at its shortest path."""
        mounts: dict[str, Mount] = {}
        for part in sorted(psutil.disk_partitions(), key=lambda part: (len(part.mountpoint), part.mountpoint)):
            shown = part.mountpoint.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            readonly = "ro" in part.opts.split(",")
            mounts.setdefault(part.device, Mount(part.device, part.fstype, shown, part.mountpoint, readonly))
        return list(mounts.values())


class PsutilSystemCollector:
    """See `Collector`."""

    name = "system"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._host = host = Host(context, self.layout)
        memory = (families.MEMORY[key] for key in (b"MemTotal:", b"SwapTotal:", b"SwapFree:"))
        self._group = self.layout.add(
            (
                *(one for mode in _CPU_MODES for one in host.columns((families.CPU,), mode=mode)),
                *host.columns((families.CPUS, *families.LOADS, *memory, families.BOOT_TIME, families.TIME)),
            )
        )
        self._network = Devices(self.layout, host.columns, _NETWORK)
        self._disk = Devices(self.layout, host.columns, _DISK)
        self._filesystems = _Filesystems(host)
        self._readable = self.layout.add((column(READABLE.family, source=self._filesystems.source),))

    def collect(self) -> None:
        self.layout.maybe_compact()
        self._host.now_s = self._context.monotonic()
        time_s, cpu, swap = self._context.wall(), psutil.cpu_times(), psutil.swap_memory()
        fixed = (
            *(getattr(cpu, mode) for mode in _CPU_MODES),
            os.cpu_count() or 1,
            *os.getloadavg(),
            psutil.virtual_memory().total,
            swap.total,
            swap.free,
            psutil.boot_time(),
            time_s,
        )
        self.layout.row[self._group.start : self._group.start + len(fixed)] = array("d", fixed)
        network = psutil.net_io_counters(pernic=True)
        for name, nic in network.items():
            received = nic.bytes_recv, nic.packets_recv, nic.errin
            self._network.write(name, (*received, nic.bytes_sent, nic.packets_sent, nic.errout))
        self._network.keep(network)
        disks = psutil.disk_io_counters(perdisk=True) or {}
        for name, disk in disks.items():
            self._disk.write(name, (disk.read_count, disk.read_bytes, disk.write_count, disk.write_bytes))
        self._disk.keep(disks)
        try:
            self._filesystems.collect()
        except OSError as error:
            self._filesystems.end()
            self._host.say(str(error))
        self.layout.row[self._readable.start] = self._filesystems.complete

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass

    def close(self) -> None:
        pass
