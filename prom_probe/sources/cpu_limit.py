"""cpu.max and cpu.cfs_quota_us: the CPU time that a cgroup may use (Documentation/admin-guide/cgroup-v2.rst)."""

from collections.abc import Iterator

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_cgroup import Membership
from prom_probe.sources.text import number

# Where version 2 may be mounted, and version 1's cpu controller.
_V2 = ("", "/unified")
_V1 = ("/cpu", "/cpu,cpuacct")


def parse_cpu_max(data: bytes) -> float | None:
    """CPUs that version 2's quota allows, None for no limit. Raises ParseError."""
    quota = parse_cpu_quota(data)
    return None if quota is None else quota[0] / quota[1]


def parse_cpu_quota(data: bytes) -> tuple[int, int] | None:
    """(quota, period) in microseconds, None for no limit; some kernels add the burst. Raises ParseError."""
    try:
        quota, period, *_ = data.split()
        if number(period) == 0:
            raise ValueError(data)
        return None if quota == b"max" else (number(quota), number(period))
    except ValueError:
        raise ParseError("cpu.max", data) from None


def parse_cfs_quota(data: bytes) -> int:
    """Microseconds of CPU time in each period, -1 for no limit. Raises ParseError."""
    text = data.strip()
    try:
        return -1 if text == b"-1" else number(text)
    except ValueError:
        raise ParseError("cpu.cfs_quota_us", data) from None


def parse_cpu_cfs(quota: bytes, period: bytes) -> float | None:
    """CPUs that version 1's quota allows, None for no limit. Raises ParseError."""
    allowed_us = parse_cfs_quota(quota)
    try:
        return None if allowed_us < 0 else allowed_us / number(period.strip())
    except (ValueError, ZeroDivisionError):
        raise ParseError("cpu.cfs_quota_us", quota + b" " + period) from None


def read_cpu_limit(cgroupfs: str, memberships: list[Membership]) -> float | None:
    """The smallest quota, in CPUs, of a process's cgroups and those above; None for no limit. Raises ParseError."""
    limits = []
    for membership in memberships:
        if not membership.controllers:
            for directory in _with_ancestors(cgroupfs, _V2, membership.path):
                try:
                    limits.append(parse_cpu_max(read_once(f"{directory}/cpu.max")))
                except OSError:
                    continue
        elif "cpu" in membership.controllers:
            for directory in _with_ancestors(cgroupfs, _V1, membership.path):
                try:
                    quota = read_once(f"{directory}/cpu.cfs_quota_us")
                    limits.append(parse_cpu_cfs(quota, read_once(f"{directory}/cpu.cfs_period_us")))
                except OSError:
                    continue
    return min((limit for limit in limits if limit is not None), default=None)


def _with_ancestors(cgroupfs: str, mounts: tuple[str, ...], path: str) -> Iterator[str]:
    """The directories of `path` and its ancestors, up to the mount point, which in a container may be the cgroup."""
    while True:
        for mount in mounts:
            yield f"{cgroupfs}{mount}{path}".rstrip("/")
        if path in ("/", ""):
            return
        path = path.rpartition("/")[0] or "/"
