"""The system collector where there is no /proc: what psutil gives by the same definition, and no series else."""

import os
from array import array
from collections.abc import Iterable

import psutil

from prom_probe.collectors import system_families as families
from prom_probe.collectors.base import Context
from prom_probe.collectors.definition import Definition
from prom_probe.collectors.devices import Devices
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Layout

_CPU_MODES = ("user", "nice", "system", "idle")
_NETWORK = tuple(definition for definition in families.NETWORK if "_drop_" not in definition.family.name)
_DISK = tuple(definition for _, _, definition in families.DISK if "macOS" in definition.platforms)


class PsutilSystemCollector:
    """See `Collector`."""

    name = "system"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._exposed = context.expose_system
        self._group = self.layout.add(
            (
                *(column(families.CPU.family, exposed=self._exposed, mode=mode) for mode in _CPU_MODES),
                *self._columns((families.CPUS, *families.LOADS, families.MEMORY[b"MemTotal:"], families.BOOT_TIME)),
            )
        )
        self._network = Devices(self.layout, self._columns, _NETWORK)
        self._disk = Devices(self.layout, self._columns, _DISK)

    def _columns(self, definitions: Iterable[Definition], **labels: str) -> tuple[Column, ...]:
        return tuple(column(definition.family, exposed=self._exposed, **labels) for definition in definitions)

    def collect(self) -> None:
        self.layout.maybe_compact()
        cpu = psutil.cpu_times()
        fixed = (
            *(getattr(cpu, mode) for mode in _CPU_MODES),
            os.cpu_count() or 1,
            *os.getloadavg(),
            psutil.virtual_memory().total,
            psutil.boot_time(),
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

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass

    def close(self) -> None:
        pass
