"""The system collector's network interfaces and disks, which come and go."""

import os

from prom_probe.collectors.system import device_families as families
from prom_probe.collectors.system.devices import Devices, choose_devices
from prom_probe.collectors.system.section import FileSection, Host, Section
from prom_probe.model.sample import STALE
from prom_probe.sources.block_stat import is_hidden, list_block_devices, parse_block_stat
from prom_probe.sources.descriptors import KeptFile, read_once, read_records
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_net_dev import parse_proc_net_dev

# Seconds between two looks for new disks.
_LIST_EVERY_S = 30.0
_NO_DISKS = ("loop", "ram", "zram", "fd", "sr")


class Network(FileSection):
    """While nothing is sent or received, the file does not change, and neither do the series."""

    source = "proc_net_dev"

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/net/dev", read_records)
        self._devices = Devices(host.layout, host.columns, families.NETWORK)
        self._hardware: dict[str, bool] = {}  # looked up only where there are too many

    def collect(self) -> None:
        data = self._file.read()
        if data == self._written:
            return
        self._written = data
        devices = parse_proc_net_dev(data, self.odd)
        chosen = choose_devices(devices, self._is_hardware)
        self._devices.keep(chosen)
        for name in chosen:
            self._devices.write(name, [STALE if number is None else number for number in devices[name]])
        self._host.dropped.write("network", len(devices) - len(chosen))

    def _is_hardware(self, name: str) -> bool:
        known = self._hardware.get(name)
        if known is None:
            known = self._hardware[name] = os.path.exists(f"{self._host.context.sysfs}/class/net/{name}/device")
        return known

    def end(self) -> None:
        self._devices.keep(())
        self._written = b""


class Disk(Section):
    """A disk that does nothing has the same numbers as before, and its series are left as they are."""

    source = "block_stat"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._sysfs = host.context.sysfs
        self._rows = [(field, divisor) for field, divisor, _ in families.DISK]
        self._files: dict[str, KeptFile] = {}
        self._written: dict[str, bytes] = {}
        self._devices = Devices(host.layout, host.columns, (definition for _, _, definition in families.DISK))
        self._listed_s: float | None = None

    def collect(self) -> None:
        now = self._host.now_s
        if self._listed_s is None or now - self._listed_s >= _LIST_EVERY_S:
            self._list()
            self._listed_s = now
        for name, file in list(self._files.items()):
            try:
                data = file.read()
                if data == self._written.get(name):
                    continue
                fields = parse_block_stat(data)
            except OSError:  # unplugged
                self._forget(name)
                continue
            except ParseError as error:
                self.odd(error.text)
                self._written.pop(name, None)
                self._devices.keep(self._written)
                continue
            numbers = [fields[field] for field, _ in self._rows]
            self._devices.write(
                name, [STALE if n is None else n / unit for n, (_, unit) in zip(numbers, self._rows, strict=True)]
            )
            self._written[name] = data

    def _list(self) -> None:
        """Find the devices that have been used."""
        names = sorted(name for name in list_block_devices(self._sysfs) if not name.startswith(_NO_DISKS))
        seen = [name for name in names if not is_hidden(self._sysfs, name)]
        used = [name for name in seen if name in self._files or self._was_used(name)]
        chosen = choose_devices(used, lambda name: os.path.exists(f"{self._sysfs}/block/{name}/device"))
        for name in self._files.keys() - chosen:
            self._forget(name)
        for name in chosen:
            if name not in self._files:
                self._files[name] = self._host.keep(f"{self._sysfs}/block/{name}/stat")
        self._host.dropped.write("disk", len(used) - len(chosen))

    def _was_used(self, name: str) -> bool:
        try:
            return any(parse_block_stat(read_once(f"{self._sysfs}/block/{name}/stat")))
        except OSError:
            return False
        except ParseError as error:
            self.odd(error.text)
            return False

    def _forget(self, name: str) -> None:
        self._files.pop(name).close()
        self._written.pop(name, None)
        self._devices.keep(self._written)

    def end(self) -> None:
        self.close()
        self._devices.keep(())
        self._listed_s = None

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._written.clear()
