"""The system collector's network interfaces and disks, which come and go."""

from prom_probe.collectors.system import device_families as families
from prom_probe.collectors.system.devices import MAX_DEVICES, Devices
from prom_probe.collectors.system.section import FileSection, Host, Section
from prom_probe.sources.block_stat import list_block_devices, parse_block_stat
from prom_probe.sources.descriptors import KeptFile, read_records
from prom_probe.sources.proc_net_dev import parse_proc_net_dev

# Seconds between two looks for new disks.
_LIST_EVERY_S = 30.0
_NO_DISKS = ("loop", "ram", "zram", "fd", "sr")


class Network(FileSection):
    source = "proc_net_dev"

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/net/dev", read_records)
        self._devices = Devices(host.layout, host.columns, families.NETWORK)

    def collect(self) -> None:
        devices = parse_proc_net_dev(self._file.read())
        for name, numbers in devices.items():
            self._devices.write(name, numbers)
        self._devices.keep(devices)

    def end(self) -> None:
        self._devices.keep(())


class Disk(Section):
    source = "block_stat"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._sysfs = host.context.sysfs
        self._rows = [(field, divisor) for field, divisor, _ in families.DISK]
        self._files: dict[str, KeptFile] = {}
        self._devices = Devices(host.layout, host.columns, (definition for _, _, definition in families.DISK))
        self._listed_s: float | None = None

    def collect(self) -> None:
        now = self._host.now_s
        if self._listed_s is None or now - self._listed_s >= _LIST_EVERY_S:
            self._list()
            self._listed_s = now
        for name, file in list(self._files.items()):
            try:
                fields = parse_block_stat(file.read())
            except OSError:  # unplugged
                self._forget(name)
                continue
            self._devices.write(name, [fields[field] / divisor for field, divisor in self._rows])

    def _list(self) -> None:
        """Find the devices that have been used."""
        for name in list_block_devices(self._sysfs):
            if name in self._files or name.startswith(_NO_DISKS) or len(self._files) >= MAX_DEVICES:
                continue
            file = self._host.keep(f"{self._sysfs}/block/{name}/stat")
            try:
                if any(parse_block_stat(file.read())):
                    self._files[name] = file
                    continue
            except OSError:
                pass
            file.close()

    def _forget(self, name: str) -> None:
        self._files.pop(name).close()
        self._devices.keep(self._files)

    def end(self) -> None:
        self.close()
        self._devices.keep(())
        self._listed_s = None

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
