"""The metrics of a tree's cgroup, and the files that each version has them in."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prom_probe.collectors.definition import Definition, define
from prom_probe.model.family import MetricType
from prom_probe.sources.cgroup_files import (
    parse_blkio,
    parse_flat_keyed,
    parse_io_stat,
    parse_limit,
    parse_number,
)
from prom_probe.sources.cpu_limit import parse_cpu_max
from prom_probe.sources.proc_pressure import parse_pressure

_WHOSE = "Of the cgroup that the tree's oldest process is in (for a cgroup watch: the one watched), and of those below."


def _cgroup(name: str, type: MetricType, unit: str, help: str, source: str, definition: str = "") -> Definition:
    return define(
        f"cgroup_{name}",
        type,
        unit,
        help,
        labels="tree",
        source=source,
        definition=f"{definition} {_WHOSE}".strip(),
    )


def _pressure(resource: str, what: str, kind: str, help: str) -> Definition:
    name = f"pressure_{resource}_{what}_seconds_total"
    definition = f"The {kind} total; throttling counts as waiting for a CPU."
    return _cgroup(name, "counter", "seconds", help, f"{resource}.pressure {kind}", definition)


# By a short name that the readings below use.
FAMILIES: dict[str, Definition] = {
    "cpu_usage": _cgroup(
        "cpu_usage_seconds_total",
        "counter",
        "seconds",
        "CPU time used by the tree's cgroup.",
        "cpu.stat usage_usec; cpuacct.usage",
        "All processes of the cgroup, those that nobody waited for included.",
    ),
    "cpu_user": _cgroup(
        "cpu_user_seconds_total",
        "counter",
        "seconds",
        "CPU time used in user mode.",
        "cpu.stat user_usec; cpuacct.stat user",
    ),
    "cpu_system": _cgroup(
        "cpu_system_seconds_total",
        "counter",
        "seconds",
        "CPU time used in the kernel.",
        "cpu.stat system_usec; cpuacct.stat system",
    ),
    "periods": _cgroup(
        "cpu_periods_total",
        "counter",
        "",
        "Periods of the CPU quota in which the cgroup was runnable.",
        "cpu.stat nr_periods",
    ),
    "throttled_periods": _cgroup(
        "cpu_throttled_periods_total",
        "counter",
        "",
        "Periods in which the CPU quota was used up.",
        "cpu.stat nr_throttled",
    ),
    "throttled": _cgroup(
        "cpu_throttled_seconds_total",
        "counter",
        "seconds",
        "Time for which the cgroup was kept from running by its CPU quota.",
        "cpu.stat throttled_usec; cpu.stat throttled_time",
        "Summed over CPUs.",
    ),
    "cpu_limit": _cgroup(
        "cpu_limit_cpus",
        "gauge",
        "",
        "CPUs that the cgroup's quota allows.",
        "cpu.max; cpu.cfs_quota_us",
        "Quota divided by period; absent where there is none.",
    ),
    "cpu_weight": _cgroup(
        "cpu_weight",
        "gauge",
        "",
        "The cgroup's share of contended CPUs, 1 to 10,000.",
        "cpu.weight",
        "Version 2 only: version 1's shares have another scale.",
    ),
    "memory_usage": _cgroup(
        "memory_usage_bytes",
        "gauge",
        "bytes",
        "Memory charged to the cgroup, page cache included.",
        "memory.current; memory.usage_in_bytes",
    ),
    "working_set": _cgroup(
        "memory_working_set_bytes",
        "gauge",
        "bytes",
        "Memory that the cgroup needs: what the kernel cannot simply drop.",
        "memory.current, memory.stat inactive_file",
        "Usage less inactive page cache, at least 0, as cAdvisor and Kubernetes have it.",
    ),
    "memory_limit": _cgroup(
        "memory_limit_bytes",
        "gauge",
        "bytes",
        "Memory that the cgroup may use.",
        "memory.max; memory.limit_in_bytes",
        "Absent where there is no limit; limits of cgroups above are not looked at.",
    ),
    "memory_peak": _cgroup(
        "memory_peak_bytes",
        "gauge",
        "bytes",
        "The largest memory usage of the cgroup so far.",
        "memory.peak; memory.max_usage_in_bytes",
    ),
    "anon": _cgroup(
        "memory_anonymous_bytes",
        "gauge",
        "bytes",
        "Memory without a file behind it.",
        "memory.stat anon; memory.stat total_rss",
    ),
    "file": _cgroup(
        "memory_file_bytes",
        "gauge",
        "bytes",
        "Page cache, shared memory included.",
        "memory.stat file; memory.stat total_cache",
    ),
    "kernel": _cgroup(
        "memory_kernel_bytes",
        "gauge",
        "bytes",
        "Kernel memory used for the cgroup.",
        "memory.stat kernel; memory.kmem.usage_in_bytes",
    ),
    "swap": _cgroup("memory_swap_bytes", "gauge", "bytes", "Swap used.", "memory.swap.current; memory.stat total_swap"),
    "limit_hits": _cgroup(
        "memory_limit_hits_total",
        "counter",
        "",
        "Times that usage was about to exceed the limit.",
        "memory.events max",
        "Version 2 only.",
    ),
    "oom_kills": _cgroup(
        "oom_kills_total",
        "counter",
        "",
        "Processes killed for want of memory.",
        "memory.events oom_kill; memory.oom_control oom_kill",
    ),
    "io_read": _cgroup(
        "io_read_bytes_total",
        "counter",
        "bytes",
        "Bytes read from block devices.",
        "io.stat rbytes; blkio.throttle.io_service_bytes_recursive Read",
        "Summed over devices.",
    ),
    "io_write": _cgroup(
        "io_write_bytes_total",
        "counter",
        "bytes",
        "Bytes written to block devices.",
        "io.stat wbytes; blkio.throttle.io_service_bytes_recursive Write",
        "Summed over devices.",
    ),
    "io_reads": _cgroup(
        "io_reads_total",
        "counter",
        "",
        "Reads from block devices.",
        "io.stat rios; blkio.throttle.io_serviced_recursive Read",
        "Summed over devices.",
    ),
    "io_writes": _cgroup(
        "io_writes_total",
        "counter",
        "",
        "Writes to block devices.",
        "io.stat wios; blkio.throttle.io_serviced_recursive Write",
        "Summed over devices.",
    ),
    "pids": _cgroup("pids", "gauge", "", "Processes and threads in the cgroup.", "pids.current"),
    "pids_limit": _cgroup(
        "pids_limit",
        "gauge",
        "",
        "Processes and threads that the cgroup may have.",
        "pids.max",
        "Absent where there is no limit.",
    ),
    "cpu_waiting": _pressure("cpu", "waiting", "some", "Time in which some thread waited for a CPU."),
    "cpu_stalled": _pressure("cpu", "stalled", "full", "Time in which all threads waited for a CPU."),
    "memory_waiting": _pressure("memory", "waiting", "some", "Time in which some thread waited for memory."),
    "memory_stalled": _pressure("memory", "stalled", "full", "Time in which all threads waited for memory."),
    "io_waiting": _pressure("io", "waiting", "some", "Time in which some thread waited for IO."),
    "io_stalled": _pressure("io", "stalled", "full", "Time in which all threads waited for IO."),
}

# Not a metric, but needed for one.
INACTIVE_FILE = "inactive_file"

Values = Iterator[tuple[str, float]]


class Reading(NamedTuple):
    """A file of a controller's directory ("" for version 2), and what it gives, by short name, in base units."""

    controller: str
    file: str
    take: Callable[[bytes], Values]


def _keyed(source: str, names: Mapping[bytes, tuple[str, float]]) -> Callable[[bytes], Values]:
    """Of a flat keyed file: by key, the short name and how many of its units make a base unit."""

    def take(data: bytes) -> Values:
        numbers = parse_flat_keyed(data, source)
        return ((name, numbers[key] / unit) for key, (name, unit) in names.items() if key in numbers)

    return take


def _number(source: str, name: str, unit: float = 1) -> Callable[[bytes], Values]:
    return lambda data: iter([(name, parse_number(data, source) / unit)])


def _limit(source: str, name: str) -> Callable[[bytes], Values]:
    def take(data: bytes) -> Values:
        limit = parse_limit(data, source)
        return iter([] if limit is None else [(name, limit)])

    return take


def _cpu_max(data: bytes) -> Values:
    limit = parse_cpu_max(data)
    return iter([] if limit is None else [("cpu_limit", limit)])


def _waits(resource: str) -> Callable[[bytes], Values]:
    def take(data: bytes) -> Values:
        some, full = parse_pressure(data)
        yield f"{resource}_waiting", some / 1e6
        if full is not None:
            yield f"{resource}_stalled", full / 1e6

    return take


def _sums(parse: Callable[[bytes], dict[bytes, int]], names: Mapping[bytes, str]) -> Callable[[bytes], Values]:
    """Of a file of block IO, which has no line before the first."""

    def take(data: bytes) -> Values:
        sums = parse(data)
        return ((name, sums.get(key, 0)) for key, name in names.items())

    return take


READINGS: tuple[Reading, ...] = (
    Reading(
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
    Reading("", "cpu.max", _cpu_max),
    Reading("", "cpu.weight", _number("cpu.weight", "cpu_weight")),
    Reading("", "memory.current", _number("memory.current", "memory_usage")),
    Reading("", "memory.max", _limit("memory.max", "memory_limit")),
    Reading("", "memory.peak", _number("memory.peak", "memory_peak")),
    Reading("", "memory.swap.current", _number("memory.swap.current", "swap")),
    Reading(
        "",
        "memory.stat",
        _keyed(
            "memory.stat",
            {
                b"anon": ("anon", 1),
                b"file": ("file", 1),
                b"kernel": ("kernel", 1),
                b"inactive_file": (INACTIVE_FILE, 1),
            },
        ),
    ),
    Reading(
        "",
        "memory.events",
        _keyed("memory.events", {b"max": ("limit_hits", 1), b"oom_kill": ("oom_kills", 1)}),
    ),
    Reading(
        "",
        "io.stat",
        _sums(parse_io_stat, {b"rbytes": "io_read", b"wbytes": "io_write", b"rios": "io_reads", b"wios": "io_writes"}),
    ),
    Reading("", "pids.current", _number("pids.current", "pids")),
    Reading("", "pids.max", _limit("pids.max", "pids_limit")),
    Reading("", "cpu.pressure", _waits("cpu")),
    Reading("", "memory.pressure", _waits("memory")),
    Reading("", "io.pressure", _waits("io")),
    Reading("cpuacct", "cpuacct.usage", _number("cpuacct.usage", "cpu_usage", 1e9)),
    Reading("cpuacct", "cpuacct.usage_user", _number("cpuacct.usage_user", "cpu_user", 1e9)),
    Reading("cpuacct", "cpuacct.usage_sys", _number("cpuacct.usage_sys", "cpu_system", 1e9)),
    Reading(
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
    Reading("memory", "memory.usage_in_bytes", _number("memory.usage_in_bytes", "memory_usage")),
    Reading("memory", "memory.limit_in_bytes", _limit("memory.limit_in_bytes", "memory_limit")),
    Reading("memory", "memory.max_usage_in_bytes", _number("memory.max_usage_in_bytes", "memory_peak")),
    Reading("memory", "memory.kmem.usage_in_bytes", _number("memory.kmem.usage_in_bytes", "kernel")),
    Reading(
        "memory",
        "memory.stat",
        _keyed(
            "memory.stat",
            {
                b"total_rss": ("anon", 1),
                b"total_cache": ("file", 1),
                b"total_swap": ("swap", 1),
                b"total_inactive_file": (INACTIVE_FILE, 1),
            },
        ),
    ),
    Reading("memory", "memory.oom_control", _keyed("memory.oom_control", {b"oom_kill": ("oom_kills", 1)})),
    Reading(
        "blkio",
        "blkio.throttle.io_service_bytes_recursive",
        _sums(parse_blkio, {b"Read": "io_read", b"Write": "io_write"}),
    ),
    Reading(
        "blkio",
        "blkio.throttle.io_serviced_recursive",
        _sums(parse_blkio, {b"Read": "io_reads", b"Write": "io_writes"}),
    ),
    Reading("pids", "pids.current", _number("pids.current", "pids")),
    Reading("pids", "pids.max", _limit("pids.max", "pids_limit")),
)
