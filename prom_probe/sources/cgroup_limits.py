"""What a cgroup may use, taking into account the limits of the cgroups above it that can be seen."""

import os
from collections.abc import Iterator

from prom_probe.sources.cgroup_files import parse_flat_keyed, parse_limit
from prom_probe.sources.cgroup_path import Directories
from prom_probe.sources.cpu_limit import parse_cpu_cfs, parse_cpu_max
from prom_probe.sources.cpu_list import parse_cpu_list, parse_cpus_allowed
from prom_probe.sources.descriptors import read_once

_ONLINE = "devices/system/cpu/online"


def read_effective_quota(directories: Directories) -> float | None:
    """The smallest CPU quota on the way up, CPUs; None for no limit. Raises ParseError."""
    limits: list[float | None] = []
    for directory in _upwards(directories.get("")):
        data = _maybe_read(f"{directory}/cpu.max")
        limits.append(None if data is None else parse_cpu_max(data))
    for directory in _upwards(directories.get("cpu")):
        quota, period = _maybe_read(f"{directory}/cpu.cfs_quota_us"), _maybe_read(f"{directory}/cpu.cfs_period_us")
        limits.append(None if quota is None or period is None else parse_cpu_cfs(quota, period))
    return min((limit for limit in limits if limit is not None), default=None)


def read_effective_cpus(directories: Directories, procfs: str, sysfs: str, pid: int) -> float | None:
    """The smallest of the quotas, the cpusets and the affinity mask of process `pid`; None where none can be read.

    An empty cpuset stands for that of the cgroup above. Raises ParseError.
    """
    sets = []
    files = (("", "cpuset.cpus.effective"), ("cpuset", "cpuset.effective_cpus"), ("cpuset", "cpuset.cpus"))
    for controller, file in files:
        for directory in _upwards(directories.get(controller)):
            data = _maybe_read(f"{directory}/{file}")
            if data is not None and data.strip():
                sets.append(parse_cpu_list(data, file))
                break
    status = _maybe_read(f"{procfs}/{pid}/status")
    if status is not None:
        sets.append(parse_cpus_allowed(status))
    if sets and (online := _maybe_read(f"{sysfs}/{_ONLINE}")) is not None:
        sets.append(parse_cpu_list(online, _ONLINE))
    least = [float(len(frozenset.intersection(*sets)))] if sets else []
    quota = read_effective_quota(directories)
    return min(least if quota is None else [*least, quota], default=None)


def read_effective_memory(directories: Directories) -> int | None:
    """The smallest memory limit on the way up, bytes; None for no limit. Raises ParseError."""
    limits: list[int | None] = []
    for directory in _upwards(directories.get("")):
        data = _maybe_read(f"{directory}/memory.max")
        limits.append(None if data is None else parse_limit(data, "memory.max"))
    if "memory" in directories:
        data = _maybe_read(f"{directories['memory']}/memory.stat")
        if data is not None:  # the kernel's own minimum, over cgroups that we may not see too
            limit = parse_flat_keyed(data, "memory.stat").get(b"hierarchical_memory_limit")
            limits.append(None if limit is None else parse_limit(b"%d" % limit, "memory.stat"))
    return min((limit for limit in limits if limit is not None), default=None)


def _upwards(directory: str | None) -> Iterator[str]:
    """The directory and those above it, as long as they are cgroups."""
    while directory and os.path.exists(f"{directory}/cgroup.procs"):
        yield directory
        directory = directory.rpartition("/")[0]


def _maybe_read(path: str) -> bytes | None:
    try:
        return read_once(path)
    except OSError:
        return None
