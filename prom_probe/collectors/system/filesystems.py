"""The system collector's filesystems: how full they are, read so that a dead mount holds up nothing else."""

import os

from prom_probe.collectors.system import device_families as families
from prom_probe.collectors.system.devices import Devices, choose_devices
from prom_probe.collectors.system.rounds import RoundsSection
from prom_probe.collectors.system.section import Host
from prom_probe.model.sample import STALE
from prom_probe.sources.descriptors import read_once
from prom_probe.sources.filesystems import Mount, parse_filesystems
from prom_probe.sources.text import MOST, UNSIGNED

_EVERY_S = 15.0


class Filesystems(RoundsSection[Mount, os.statvfs_result]):
    source = "statvfs"

    def __init__(self, host: Host) -> None:
        statvfs = host.context.statvfs
        super().__init__(host, lambda mount: statvfs(mount.path), _EVERY_S)
        self._devices = Devices(host.layout, host.columns, families.FILESYSTEM)

    def list_items(self) -> list[Mount]:
        return parse_filesystems(read_once(f"{self._host.context.procfs}/self/mountinfo"), self.odd)

    def name(self, item: Mount) -> str:
        return f"filesystem {item.mountpoint} ({item.fstype}, {item.device})"

    def show(self, answers: dict[Mount, os.statvfs_result]) -> None:
        with_blocks = [mount for mount, answer in answers.items() if answer.f_blocks]  # others cannot be full
        chosen = choose_devices(with_blocks, lambda mount: mount.device.startswith("/dev/"))
        self._devices.keep(map(_key, chosen))
        for mount in chosen:
            labels = {"device": mount.device, "fstype": mount.fstype, "mountpoint": mount.mountpoint}
            self._devices.write(_key(mount), _values(mount, answers[mount]), **labels)
        self._host.dropped.write("filesystem", len(with_blocks) - len(chosen))

    def end(self) -> None:
        self._devices.keep(())


def _key(mount: Mount) -> str:
    return "\0".join((mount.device, mount.fstype, mount.mountpoint))


def _values(mount: Mount, answer: os.statvfs_result) -> tuple[float, ...]:
    """In the order of the families. Filesystems that allocate inodes on demand have no count of them, or say 2^64 - 1;
    where root has used what is reserved for it, some have less than nothing for others."""
    unit = answer.f_frsize
    blocks = (answer.f_blocks, answer.f_bfree, answer.f_bavail)
    files = (answer.f_files, answer.f_ffree) if answer.f_files else (UNSIGNED, UNSIGNED)
    return (
        *(STALE if count > MOST else count * unit for count in blocks),
        *(STALE if count > MOST else count for count in files),
        mount.readonly,
    )
