"""The system collector's filesystems: how full they are, read so that a dead mount holds up nothing else."""

import os

from prom_probe.collectors.system import device_families as families
from prom_probe.collectors.system.devices import Devices
from prom_probe.collectors.system.rounds import RoundsSection
from prom_probe.collectors.system.section import Host
from prom_probe.model.sample import STALE
from prom_probe.sources.descriptors import read_once
from prom_probe.sources.filesystems import Mount, parse_filesystems

_EVERY_S = 15.0


class Filesystems(RoundsSection[Mount, os.statvfs_result]):
    source = "statvfs"

    def __init__(self, host: Host) -> None:
        statvfs = host.context.statvfs
        super().__init__(host, lambda mount: statvfs(mount.path), _EVERY_S)
        self._devices = Devices(host.layout, host.columns, families.FILESYSTEM)

    def list_items(self) -> list[Mount]:
        return parse_filesystems(read_once(f"{self._host.context.procfs}/self/mountinfo"))

    def name(self, item: Mount) -> str:
        return f"filesystem {item.mountpoint} ({item.fstype}, {item.device})"

    def show(self, answers: dict[Mount, os.statvfs_result]) -> None:
        seen = []
        for mount, answer in answers.items():
            if answer.f_blocks:  # without blocks it cannot be full
                labels = {"device": mount.device, "fstype": mount.fstype, "mountpoint": mount.mountpoint}
                seen.append("\0".join(labels.values()))
                self._devices.write(seen[-1], _values(mount, answer), **labels)
        self._devices.keep(seen)

    def end(self) -> None:
        self._devices.keep(())


def _values(mount: Mount, answer: os.statvfs_result) -> tuple[float, ...]:
    """In the order of the families. Filesystems that allocate inodes on demand have no count of them."""
    unit = answer.f_frsize
    files = (answer.f_files, answer.f_ffree) if answer.f_files else (STALE, STALE)
    return answer.f_blocks * unit, answer.f_bfree * unit, answer.f_bavail * unit, *files, mount.readonly
