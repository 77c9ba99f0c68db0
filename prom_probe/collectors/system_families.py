"""The metrics of the whole machine."""

from prom_probe.collectors.definition import Definition, define
from prom_probe.sources import block_stat as disk
from prom_probe.sources.proc_net_dev import FIELDS

_ANY = "Linux, macOS"

# In /proc/stat's order.
CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")

CPU = define(
    "system_cpu_seconds_total",
    "counter",
    "seconds",
    "Time that the CPUs spent, by mode, summed over CPUs.",
    labels="mode",
    source="/proc/stat cpu",
    definition="As the kernel counts it; guests' time is in user and nice. macOS has user, nice, system and idle.",
    platforms=_ANY,
)
CPUS = define(
    "system_cpus",
    "gauge",
    "",
    "CPUs online.",
    source="sysconf(_SC_NPROCESSORS_ONLN)",
    definition="Count of CPUs that are online, whatever a cgroup or an affinity mask allows.",
    platforms=_ANY,
)
CPUS_EFFECTIVE = define(
    "system_cpus_effective",
    "gauge",
    "",
    "CPUs that can be used from here.",
    source="sched_getaffinity(2), cpu.max or cpu.cfs_quota_us",
    definition="The smaller of the CPUs in our affinity mask (which a cpuset narrows) and the smallest CPU quota of "
    "our cgroup and those above it that are visible.",
)
LOADS = tuple(
    define(
        f"system_load{minutes}",
        "gauge",
        "",
        f"Load average over {minutes} min.",
        source="/proc/loadavg",
        definition="Exponentially damped average of the runnable and, on Linux, uninterruptibly waiting threads.",
        platforms=_ANY,
    )
    for minutes in (1, 5, 15)
)


def _memory(name: str, key: str, help: str, definition: str, platforms: str = "Linux") -> Definition:
    return define(
        f"system_memory_{name}_bytes",
        "gauge",
        "bytes",
        help,
        source=f"/proc/meminfo {key}",
        definition=definition,
        platforms=platforms,
    )


# By /proc/meminfo's key.
MEMORY: dict[bytes, Definition] = {
    b"MemTotal:": _memory("total", "MemTotal", "Memory.", "What the kernel manages of the RAM.", _ANY),
    b"MemAvailable:": _memory(
        "available",
        "MemAvailable",
        "Memory that can be had without swapping.",
        "The kernel's estimate: free, and what it could reclaim.",
    ),
    b"MemFree:": _memory("free", "MemFree", "Unused memory.", "Pages that hold nothing."),
    b"Buffers:": _memory("buffers", "Buffers", "Memory of block device buffers.", "As the kernel gives it."),
    b"Cached:": _memory("cached", "Cached", "Page cache.", "File pages and shared memory, swap cache left out."),
    b"Shmem:": _memory("shared", "Shmem", "Shared memory and tmpfs.", "Part of system_memory_cached_bytes."),
    b"AnonPages:": _memory("anonymous", "AnonPages", "Memory without a file behind it.", "Mapped anonymous pages."),
    b"Dirty:": _memory("dirty", "Dirty", "Memory that waits to be written.", "As the kernel gives it."),
    b"SReclaimable:": _memory(
        "slab_reclaimable", "SReclaimable", "Kernel memory that can be reclaimed.", "Caches of inodes and the like."
    ),
    b"SwapTotal:": _memory("swap_total", "SwapTotal", "Swap space.", "As the kernel gives it."),
    b"SwapFree:": _memory("swap_free", "SwapFree", "Unused swap space.", "As the kernel gives it."),
}

BOOT_TIME = define(
    "system_boot_time_seconds",
    "gauge",
    "seconds",
    "When the machine was booted, unix time.",
    source="/proc/stat btime",
    definition="As the kernel gives it.",
    platforms=_ANY,
)
CONTEXT_SWITCHES = define(
    "system_context_switches_total",
    "counter",
    "",
    "Context switches.",
    source="/proc/stat ctxt",
    definition="Of all CPUs since boot.",
)
INTERRUPTS = define(
    "system_interrupts_total",
    "counter",
    "",
    "Interrupts serviced.",
    source="/proc/stat intr",
    definition="Of all CPUs since boot, softirqs left out.",
)
FORKS = define(
    "system_forks_total",
    "counter",
    "",
    "Processes and threads created.",
    source="/proc/stat processes",
    definition="Since boot.",
)
RUNNING = define(
    "system_threads_running",
    "gauge",
    "",
    "Threads that run or wait for a CPU.",
    source="/proc/stat procs_running",
    definition="As the kernel gives it.",
)
BLOCKED = define(
    "system_threads_blocked",
    "gauge",
    "",
    "Threads that wait for IO.",
    source="/proc/stat procs_blocked",
    definition="As the kernel gives it.",
)


def _pressure(resource: str, what: str, kind: str, help: str) -> Definition:
    return define(
        f"system_pressure_{resource}_{what}_seconds_total",
        "counter",
        "seconds",
        help,
        source=f"/proc/pressure/{resource} {kind}",
        definition=f"The kernel's {kind} total of pressure stall information; throttling by a CPU quota counts too.",
    )


# (resource, [some, full]); the whole machine never stalls for want of CPU, so that has no "full".
PRESSURE: tuple[tuple[str, tuple[Definition, ...]], ...] = (
    ("cpu", (_pressure("cpu", "waiting", "some", "Time in which some thread waited for a CPU."),)),
    (
        "memory",
        (
            _pressure("memory", "waiting", "some", "Time in which some thread waited for memory."),
            _pressure("memory", "stalled", "full", "Time in which all threads waited for memory."),
        ),
    ),
    (
        "io",
        (
            _pressure("io", "waiting", "some", "Time in which some thread waited for IO."),
            _pressure("io", "stalled", "full", "Time in which all threads waited for IO."),
        ),
    ),
)


_NETWORK_HELP = {
    "bytes": ("bytes", "Bytes {}."),
    "packets": ("", "Packets {}."),
    "errors": ("", "Packets not {} because of an error."),
    "drop": ("", "Packets not {} because they were dropped."),
}


def _network(field: str) -> Definition:
    direction, what = field.split("_")
    unit, help = _NETWORK_HELP[what]
    return define(
        f"system_network_{field}_total",
        "counter",
        unit,
        help.format({"receive": "received", "transmit": "sent"}[direction]),
        labels="device",
        source="/proc/net/dev",
        definition="As the device counts it, in our network namespace: in a pod, the pod's devices.",
        platforms=_ANY,
    )


NETWORK: tuple[Definition, ...] = tuple(map(_network, FIELDS))


def _disk(name: str, unit: str, help: str, platforms: str = "Linux", type_is_gauge: bool = False) -> Definition:
    return define(
        f"system_disk_{name}" if type_is_gauge else f"system_disk_{name}_total",
        "gauge" if type_is_gauge else "counter",
        unit,
        help,
        labels="device",
        source="/sys/block/DEVICE/stat",
        definition="As the kernel counts it for the whole device; partitions, loop, RAM and removable "
        "devices are left out, and devices that were never used.",
        platforms=platforms,
    )


# (field of /sys/block/DEVICE/stat, how many of its units make a base unit, family).
DISK: tuple[tuple[int, float, Definition], ...] = (
    (disk.READS, 1, _disk("reads_completed", "", "Reads completed.", _ANY)),
    (disk.READ_SECTORS, 1 / disk.SECTOR_BYTES, _disk("read_bytes", "bytes", "Bytes read.", _ANY)),
    (disk.READ_MS, 1e3, _disk("read_time_seconds", "seconds", "Time that reads took, summed over them.")),
    (disk.WRITES, 1, _disk("writes_completed", "", "Writes completed.", _ANY)),
    (disk.WRITTEN_SECTORS, 1 / disk.SECTOR_BYTES, _disk("written_bytes", "bytes", "Bytes written.", _ANY)),
    (disk.WRITE_MS, 1e3, _disk("write_time_seconds", "seconds", "Time that writes took, summed over them.")),
    (disk.IO_NOW, 1, _disk("io_now", "", "Requests in flight.", type_is_gauge=True)),
    (disk.IO_MS, 1e3, _disk("io_time_seconds", "seconds", "Time in which the device was busy.")),
    (
        disk.WEIGHTED_IO_MS,
        1e3,
        _disk("io_time_weighted_seconds", "seconds", "Time that requests were in flight, summed over them."),
    ),
)
