"""The files in which each version of cgroups has the metrics of a tree's cgroup."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prom_probe.sources.cgroup_files import (
    DeviceCounts,
    parse_blkio,
    parse_flat_keyed,
    parse_io_stat,
    parse_limit,
    parse_number,
)
from prom_probe.sources.cpu_limit import parse_cpu_quota
from prom_probe.sources.proc_pressure import parse_pressure
from prom_probe.sources.text import MOST, Odd

# Not a metric itself: the working set is computed from it.
INACTIVE_FILE = "inactive_file"

Values = Iterator[tuple[str, float]]


class CgroupFile(NamedTuple):
    """A file in a controller's directory ("" for version 2), and its values by short name, in base units."""

    controller: str
    file: str
    take: Callable[[bytes, Odd], Values]
    seldom: bool = False  # a limit: read every few seconds


class IoFile(NamedTuple):
    """A file with one or more lines for each device, and the short names of its keys."""

    controller: str
    file: str
    parse: Callable[[bytes, Odd], DeviceCounts]
    names: Mapping[bytes, str]


def _keyed(source: str, names: Mapping[bytes, tuple[str, float]]) -> Callable[[bytes, Odd], Values]:
    """Of a flat keyed file: for each key the short name, and how many of the file's units make a base unit."""

    def take(data: bytes, odd: Odd) -> Values:
        numbers = parse_flat_keyed(data, source, odd)
        for key, (name, unit) in names.items():
            number = numbers.get(key)
            if number is None:
                continue
            if number > MOST:
                odd(b"%b %d" % (key, number))
            else:
                yield name, number / unit

    return take


def _number(source: str, name: str, unit: float = 1) -> Callable[[bytes, Odd], Values]:
    return lambda data, odd: iter([(name, parse_number(data, source) / unit)])


def _limit(source: str, name: str) -> Callable[[bytes, Odd], Values]:
    def take(data: bytes, odd: Odd) -> Values:
        limit = parse_limit(data, source)
        return iter([] if limit is None else [(name, limit)])

    return take


def _cpu_max(data: bytes, odd: Odd) -> Values:
    quota = parse_cpu_quota(data)
    if quota is not None:
        yield from cpu_limits(*quota)


def cpu_limits(quota_us: int, period_us: int) -> Values:
    """The series of a CPU quota; a negative quota is no limit."""
    if quota_us >= 0 < period_us:
        yield "cpu_quota", quota_us / 1e6
        yield "cpu_period", period_us / 1e6
        yield "cpu_limit", quota_us / period_us


def _waits(resource: str) -> Callable[[bytes, Odd], Values]:
    def take(data: bytes, odd: Odd) -> Values:
        some, full = parse_pressure(data, odd)
        if some is not None:
            yield f"{resource}_waiting", some / 1e6
        if full is not None:
            yield f"{resource}_stalled", full / 1e6

    return take


FILES: tuple[CgroupFile, ...] = (
    CgroupFile(
        "",
        "cpu.stat",
        _keyed(
            "cpu.stat",
            {
                b"usage_usec": ("cpu_usage", 1e6),
                b"user_usec": ("cpu_user", 1e6),
                b"system_usec": ("cpu_system", 1e6),
                b"nr_periods": ("periods", 1),
                b"nr_throttled": ("throttled_periods", 1),
                b"throttled_usec": ("throttled", 1e6),
            },
        ),
    ),
    CgroupFile("", "cpu.max", _cpu_max, seldom=True),
    CgroupFile("", "cpu.weight", _number("cpu.weight", "cpu_weight"), seldom=True),
    CgroupFile("", "memory.current", _number("memory.current", "memory_usage")),
    CgroupFile("", "memory.max", _limit("memory.max", "memory_limit"), seldom=True),
    CgroupFile("", "memory.high", _limit("memory.high", "memory_high"), seldom=True),
    CgroupFile("", "memory.swap.max", _limit("memory.swap.max", "swap_limit"), seldom=True),
    CgroupFile("", "memory.peak", _number("memory.peak", "memory_peak")),
    CgroupFile("", "memory.swap.current", _number("memory.swap.current", "swap")),
    CgroupFile(
        "",
        "memory.stat",
        _keyed(
            "memory.stat",
            {
                b"anon": ("anon", 1),
                b"file": ("file", 1),
                b"kernel": ("kernel", 1),
                b"inactive_file": (INACTIVE_FILE, 1),
                b"slab": ("slab", 1),
                b"sock": ("sock", 1),
                b"shmem": ("shared", 1),
                b"file_mapped": ("mapped", 1),
                b"file_dirty": ("dirty", 1),
                b"file_writeback": ("writeback", 1),
                b"pgfault": ("faults", 1),
                b"pgmajfault": ("major_faults", 1),
            },
        ),
    ),
    CgroupFile(
        "",
        "memory.events",
        _keyed(
            "memory.events",
            {
                b"low": ("low_events", 1),
                b"high": ("high_events", 1),
                b"max": ("limit_hits", 1),
                b"oom": ("ooms", 1),
                b"oom_kill": ("oom_kills", 1),
            },
        ),
    ),
    CgroupFile("", "pids.current", _number("pids.current", "pids")),
    CgroupFile("", "pids.max", _limit("pids.max", "pids_limit"), seldom=True),
    CgroupFile("", "cpu.pressure", _waits("cpu")),
    CgroupFile("", "memory.pressure", _waits("memory")),
    CgroupFile("", "io.pressure", _waits("io")),
    CgroupFile("cpuacct", "cpuacct.usage", _number("cpuacct.usage", "cpu_usage", 1e9)),
    CgroupFile("cpuacct", "cpuacct.usage_user", _number("cpuacct.usage_user", "cpu_user", 1e9)),
    CgroupFile("cpuacct", "cpuacct.usage_sys", _number("cpuacct.usage_sys", "cpu_system", 1e9)),
    CgroupFile(
        "cpu",
        "cpu.stat",
        _keyed(
            "cpu.stat",
            {
                b"nr_periods": ("periods", 1),
                b"nr_throttled": ("throttled_periods", 1),
                b"throttled_time": ("throttled", 1e9),
            },
        ),
    ),
    CgroupFile("cpu", "cpu.shares", _number("cpu.shares", "cpu_shares"), seldom=True),
    CgroupFile("memory", "memory.failcnt", _number("memory.failcnt", "limit_hits")),
    CgroupFile("memory", "memory.usage_in_bytes", _number("memory.usage_in_bytes", "memory_usage")),
    CgroupFile("memory", "memory.limit_in_bytes", _limit("memory.limit_in_bytes", "memory_limit"), seldom=True),
    CgroupFile("memory", "memory.max_usage_in_bytes", _number("memory.max_usage_in_bytes", "memory_peak")),
    CgroupFile("memory", "memory.kmem.usage_in_bytes", _number("memory.kmem.usage_in_bytes", "kernel")),
    CgroupFile(
        "memory",
        "memory.stat",
        _keyed(
            "memory.stat",
            {
                b"total_rss": ("anon", 1),
                b"total_cache": ("file", 1),
                b"total_swap": ("swap", 1),
                b"total_inactive_file": (INACTIVE_FILE, 1),
                b"total_shmem": ("shared", 1),
                b"total_mapped_file": ("mapped", 1),
                b"total_dirty": ("dirty", 1),
                b"total_writeback": ("writeback", 1),
                b"total_pgfault": ("faults", 1),
                b"total_pgmajfault": ("major_faults", 1),
            },
        ),
    ),
    CgroupFile("memory", "memory.oom_control", _keyed("memory.oom_control", {b"oom_kill": ("oom_kills", 1)})),
    CgroupFile("pids", "pids.current", _number("pids.current", "pids")),
    CgroupFile("pids", "pids.max", _limit("pids.max", "pids_limit"), seldom=True),
)

IO_FILES: tuple[IoFile, ...] = (
    IoFile(
        "",
        "io.stat",
        parse_io_stat,
        {b"rbytes": "io_read", b"wbytes": "io_write", b"rios": "io_reads", b"wios": "io_writes"},
    ),
    IoFile(
        "blkio",
        "blkio.throttle.io_service_bytes_recursive",
        parse_blkio,
        {b"Read": "io_read", b"Write": "io_write"},
    ),
    IoFile("blkio", "blkio.throttle.io_serviced_recursive", parse_blkio, {b"Read": "io_reads", b"Write": "io_writes"}),
)
