"""Whether the files of the whole machine can be read, and whether it has GPUs."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from prom_probe.cli.doctor.finding import Finding, Status
from prom_probe.cli.doctor.identity import Denial, Identity
from prom_probe.collectors.base import Context
from prom_probe.collectors.registry import COLLECTORS
from prom_probe.model.definition import READABLE
from prom_probe.model.sample import is_stale
from prom_probe.sources.descriptors import read_once


class _Source(NamedTuple):
    """Where a source of the system collector is read, below procfs or sysfs."""

    path: str
    optional: bool = False  # not every machine has it


# By the `source` label of prom_probe_source_readable. One that is not here has the collector's own words.
_SOURCES: dict[str, _Source] = {
    "proc_stat": _Source("/proc/stat"),
    "proc_loadavg": _Source("/proc/loadavg"),
    "proc_meminfo": _Source("/proc/meminfo"),
    "proc_net_dev": _Source("/proc/net/dev"),
    "proc_vmstat": _Source("/proc/vmstat"),
    "proc_net_sockstat": _Source("/proc/net/sockstat"),
    "block_stat": _Source("/sys/block"),
    "proc_pressure_cpu": _Source("/proc/pressure/cpu", True),
    "proc_pressure_memory": _Source("/proc/pressure/memory", True),
    "proc_pressure_io": _Source("/proc/pressure/io", True),
    "proc_sys_fs_file_nr": _Source("/proc/sys/fs/file-nr"),
    "proc_sys_kernel_random": _Source("/proc/sys/kernel/random/entropy_avail"),
    "proc_sys_net_netfilter": _Source("/proc/sys/net/netfilter/nf_conntrack_count", True),
    "cpufreq": _Source("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", True),
    "hwmon": _Source("/sys/class/hwmon", True),
}
_PSI = "start a kernel with CONFIG_PSI, with psi=1 where it is off by default"
_MASKED = (
    "let it be seen: a runtime or a security module masks it (maskedPaths, AppArmor, systemd's ProtectKernelTunables)"
)


def check_system(context: Context, us: Identity) -> Iterator[Finding]:
    """A finding for each source of the system collector, as its first collection says."""
    said: list[str] = []
    context = msgspec.structs.replace(context, log=lambda level, message: said.append(message))
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
        denial = _explain(context, us, source) if source else None
        if denial is None:
            words = "; ".join(message for message in said if source is None or source.path in message) or "; ".join(
                said
            )
            denial = Denial(words or "the collector does not say why", "")
        status: Status = "absent" if source and source.optional else "missing"
        yield Finding("system", name, status, source.path if source else "", *denial, "no such system_* metrics")


def _explain(context: Context, us: Identity, source: _Source) -> Denial | None:
    """Why a source's file cannot be read; None where it can."""
    path = source.path
    for mount, root in (("/proc", context.procfs), ("/sys", context.sysfs)):
        if path.startswith(f"{mount}/"):
            path = root + path[len(mount) :]
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            read_once(path)
    except PermissionError:
        return Denial(f"{path} is denied", _MASKED)
    except OSError as error:
        if "/pressure/" in path:
            return Denial("the kernel does not account pressure", _PSI)
        if error.errno != errno.ENOENT:
            return Denial(f"{path}: {error.strerror}", "")
        if us.subset and path.startswith(context.procfs):
            return Denial(
                f"{context.procfs} is mounted with subset={us.subset}: it has processes alone", "mount all of it"
            )
        if not os.path.isdir(context.sysfs) and path.startswith(context.sysfs):
            return Denial(
                f"no sysfs is mounted at {context.sysfs}", "mount it there, or say where it is by --path.sysfs"
            )
        return Denial(f"{path} is not there: the machine does not have it, or it is masked", "")
    return None


_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


def check_gpus(context: Context, dev: str = "/dev") -> Finding:
    """Whether there are GPUs, by their files alone: no driver is asked. `dev`: where device files are."""
    devices = sorted(glob.glob(f"{dev}/nvidia[0-9]*"))
    cards = []
    for path in sorted(glob.glob(f"{context.sysfs}/class/drm/card[0-9]*/device/vendor")):
        try:
            vendor = read_once(path).decode("ascii", "replace").strip()
        except OSError:
            continue
        cards.append(f"{path.split('/')[-3]} ({_VENDORS.get(vendor, vendor)})")
    if devices and not os.path.exists(f"{dev}/nvidiactl"):
        reason, change = f"there is {devices[0]} and no {dev}/nvidiactl", "let the runtime pass both: --gpus=all"
        return Finding("gpu", "device files", "absent", "", reason, change, "no gpu_* metrics")
    denied = [path for path in (*devices, f"{dev}/nvidiactl") if devices and not os.access(path, os.R_OK | os.W_OK)]
    if denied:
        change = f"add us to the group that owns {denied[0]} (supplementalGroups, docker run --group-add)"
        return Finding("gpu", "device files", "absent", "", f"{denied[0]} is denied", change, "no gpu_* metrics")
    if devices or cards:
        return Finding("gpu", "device files", "ok", ", ".join(devices + cards))
    if os.path.exists(f"{context.procfs}/driver/nvidia/version"):
        reason = "the machine has NVIDIA's driver, and no GPU was given to us"
        change = "set NVIDIA_VISIBLE_DEVICES=all and NVIDIA_DRIVER_CAPABILITIES=utility where the cluster allows it"
        return Finding("gpu", "device files", "absent", "", reason, change, "no gpu_* metrics")
    return Finding("gpu", "device files", "absent", "", "there is no GPU here", "", "no gpu_* metrics")
