"""Checks whether the files about the whole machine can be read, and whether it has GPUs."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from prom_probe.cli.doctor.access import ACCESS, Access
from prom_probe.cli.doctor.finding import Finding, Status
from prom_probe.cli.doctor.identity import Denial, Identity
from prom_probe.collectors.base import Context
from prom_probe.collectors.odd_rows import OddRows
from prom_probe.collectors.registry import COLLECTORS
from prom_probe.model.definition import READABLE
from prom_probe.model.sample import is_stale


class _SystemFile(NamedTuple):
    """The file of a source of the system collector, with the usual mount points."""

    path: str
    optional: bool = False  # some machines lack it


# By the `source` label of prom_probe_source_readable. For others, the collector's log messages are the reason.
_SOURCES: dict[str, _SystemFile] = {
    "proc_stat": _SystemFile("/proc/stat"),
    "proc_loadavg": _SystemFile("/proc/loadavg"),
    "proc_meminfo": _SystemFile("/proc/meminfo"),
    "proc_net_dev": _SystemFile("/proc/net/dev"),
    "proc_vmstat": _SystemFile("/proc/vmstat"),
    "proc_net_sockstat": _SystemFile("/proc/net/sockstat"),
    "block_stat": _SystemFile("/sys/block"),
    "proc_pressure_cpu": _SystemFile("/proc/pressure/cpu", True),
    "proc_pressure_memory": _SystemFile("/proc/pressure/memory", True),
    "proc_pressure_io": _SystemFile("/proc/pressure/io", True),
    "proc_sys_fs_file_nr": _SystemFile("/proc/sys/fs/file-nr"),
    "proc_sys_kernel_random": _SystemFile("/proc/sys/kernel/random/entropy_avail"),
    "proc_sys_net_netfilter": _SystemFile("/proc/sys/net/netfilter/nf_conntrack_count", True),
    "cpufreq": _SystemFile("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", True),
    "hwmon": _SystemFile("/sys/class/hwmon", True),
}
_PSI = "start a kernel with CONFIG_PSI, with psi=1 where it is off by default"
_MASKED = (
    "make it visible: a runtime or a security module masks it (maskedPaths, AppArmor, systemd's ProtectKernelTunables)"
)


def check_system(context: Context, us: Identity, access: Access = ACCESS) -> Iterator[Finding]:
    """A finding for each source of the system collector, as its first collection reports it."""
    said: list[str] = []

    def note(level: str, message: str) -> None:
        said.append(message)

    context = msgspec.structs.replace(context, log=note, odd_rows=OddRows(note))
    collector = COLLECTORS["system"](context)
    try:
        collector.collect()
        readable = {
            dict(column.labels)["source"]: value
            for column, value in zip(collector.layout.columns, collector.layout.row, strict=True)
            if column.family.name == READABLE.family.name and not is_stale(value)
        }
    finally:
        collector.close()
    for name, value in readable.items():
        source = _SOURCES.get(name)
        if value:
            yield Finding("system", name, "ok", source.path if source else "")
            continue
        denial = _explain(context, us, source, access) if source else None
        if denial is None:
            words = "; ".join(message for message in said if source is None or source.path in message) or "; ".join(
                said
            )
            denial = Denial(words or "the collector gives no reason", "")
        status: Status = "absent" if source and source.optional else "missing"
        yield Finding("system", name, status, source.path if source else "", *denial, "no such system_* metrics")


def _explain(context: Context, us: Identity, source: _SystemFile, access: Access) -> Denial | None:
    """Why a source's file cannot be read; None if it can."""
    path = source.path
    for mount, root in (("/proc", context.procfs), ("/sys", context.sysfs)):
        if path.startswith(f"{mount}/"):
            path = root + path[len(mount) :]
    try:
        if os.path.isdir(path):
            access.list(path)
        else:
            access.read(path)
    except PermissionError:
        return Denial(f"{path} is denied", _MASKED)
    except OSError as error:
        if "/pressure/" in path:
            return Denial("the kernel does not account pressure", _PSI)
        if error.errno != errno.ENOENT:
            return Denial(f"{path}: {error.strerror}", "")
        if us.subset and path.startswith(context.procfs):
            return Denial(
                f"{context.procfs} is mounted with subset={us.subset}: it only has processes", "mount all of it"
            )
        if not os.path.isdir(context.sysfs) and path.startswith(context.sysfs):
            return Denial(
                f"no sysfs is mounted at {context.sysfs}", "mount it there, or give its place with --path.sysfs"
            )
        return Denial(f"{path} is not there: the machine does not have it, or it is masked", "")
    return None


_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


def check_gpus(context: Context, dev: str = "/dev", access: Access = ACCESS) -> Finding:
    """Whether there are GPUs, judged by their files: no driver is called. `dev`: the directory of device files."""
    devices = sorted(glob.glob(f"{dev}/nvidia[0-9]*"))
    cards = []
    for path in sorted(glob.glob(f"{context.sysfs}/class/drm/card[0-9]*/device/vendor")):
        try:
            vendor = access.read(path).decode("ascii", "replace").strip()
        except OSError:
            continue
        cards.append(f"{path.split('/')[-3]} ({_VENDORS.get(vendor, vendor)})")
    if devices and not os.path.exists(f"{dev}/nvidiactl"):
        reason, change = f"there is {devices[0]} but no {dev}/nvidiactl", "have the runtime pass both: --gpus=all"
        return Finding("gpu", "device files", "absent", "", reason, change, "no gpu_* metrics")
    denied = [path for path in (*devices, f"{dev}/nvidiactl") if devices and not access.may(path, os.R_OK | os.W_OK)]
    if denied:
        change = f"add us to the group that owns {denied[0]} (supplementalGroups, docker run --group-add)"
        return Finding("gpu", "device files", "absent", "", f"{denied[0]} is denied", change, "no gpu_* metrics")
    if devices or cards:
        return Finding("gpu", "device files", "ok", ", ".join(devices + cards))
    if os.path.exists(f"{context.procfs}/driver/nvidia/version"):
        reason = "the machine has NVIDIA's driver, but this container was given no GPU"
        change = "set NVIDIA_VISIBLE_DEVICES=all and NVIDIA_DRIVER_CAPABILITIES=utility where the cluster allows it"
        return Finding("gpu", "device files", "absent", "", reason, change, "no gpu_* metrics")
    return Finding("gpu", "device files", "absent", "", "there is no GPU here", "", "no gpu_* metrics")
