"""The metrics of the whole machine."""

from prom_probe.model.definition import Definition, define
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

THREADS = define(
    "system_threads",
    "gauge",
    "",
    "Threads that there are.",
    source="/proc/loadavg",
    definition="All threads of all processes, and the kernel's own.",
)
FREQUENCIES = (
    define(
        "system_cpu_frequency_hertz",
        "gauge",
        "hertz",
        "Clock frequency of the CPUs, their mean.",
        source="/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",
        definition="Over the CPUs online, every 5 s; the driver's last request where the hardware does not tell.",
    ),
    define(
        "system_cpu_frequency_fastest_hertz",
        "gauge",
        "hertz",
        "Clock frequency of the CPU that is the fastest at the time.",
        source="/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",
        definition="As system_cpu_frequency_hertz, but the largest and not the mean.",
    ),
    define(
        "system_cpu_frequency_limit_hertz",
        "gauge",
        "hertz",
        "The highest clock frequency that a CPU can run at.",
        source="/sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq",
        definition="The hardware's limit, of the fastest kind of CPU.",
    ),
)
TEMPERATURE = define(
    "system_temperature_celsius",
    "gauge",
    "celsius",
    "Temperature.",
    labels="sensor",
    source="/sys/class/hwmon/hwmon*/temp*_input, /sys/class/thermal/thermal_zone*/temp",
    definition="As the sensor gives it, every 5 s. The sensor is named by its chip and its label, of two of the same "
    "name the second by its device too; a thermal zone is named by its type, and left out where a chip has that name.",
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


# By /proc/meminfo's key, in its order.
MEMORY: dict[bytes, Definition] = {
    b"MemTotal:": _memory("total", "MemTotal", "Memory.", "What the kernel manages of the RAM.", _ANY),
    b"MemFree:": _memory("free", "MemFree", "Unused memory.", "Pages that hold nothing."),
    b"MemAvailable:": _memory(
        "available",
        "MemAvailable",
        "Memory that can be had without swapping.",
        "The kernel's estimate: free, and what it could reclaim.",
    ),
    b"Buffers:": _memory("buffers", "Buffers", "Memory of block device buffers.", "As the kernel gives it."),
    b"Cached:": _memory("cached", "Cached", "Page cache.", "File pages and shared memory, swap cache left out."),
    b"SwapTotal:": _memory("swap_total", "SwapTotal", "Swap space.", "As the kernel gives it.", _ANY),
    b"SwapFree:": _memory("swap_free", "SwapFree", "Unused swap space.", "As the kernel gives it.", _ANY),
    b"Dirty:": _memory("dirty", "Dirty", "Memory that waits to be written.", "As the kernel gives it."),
    b"Writeback:": _memory("writeback", "Writeback", "Memory that is being written.", "As the kernel gives it."),
    b"AnonPages:": _memory("anonymous", "AnonPages", "Memory without a file behind it.", "Mapped anonymous pages."),
    b"Mapped:": _memory("mapped", "Mapped", "File pages that are mapped.", "Part of system_memory_cached_bytes."),
    b"Shmem:": _memory("shared", "Shmem", "Shared memory and tmpfs.", "Part of system_memory_cached_bytes."),
    b"SReclaimable:": _memory(
        "slab_reclaimable", "SReclaimable", "Kernel memory that can be reclaimed.", "Caches of inodes and the like."
    ),
    b"SUnreclaim:": _memory(
        "slab_unreclaimable", "SUnreclaim", "Kernel memory that cannot be reclaimed.", "The rest of the slab."
    ),
    b"KernelStack:": _memory("kernel_stack", "KernelStack", "Kernel stacks of all threads.", "As the kernel gives it."),
    b"PageTables:": _memory("page_tables", "PageTables", "Page tables.", "Those of processes; the lowest level."),
    b"CommitLimit:": _memory(
        "commit_limit",
        "CommitLimit",
        "Memory that may be promised.",
        "Swap and a share of the RAM; only enforced where vm.overcommit_memory is 2.",
    ),
    b"Committed_AS:": _memory(
        "committed", "Committed_AS", "Memory that has been promised.", "What all of it takes if it is used."
    ),
}

TIME = define(
    "system_time_seconds",
    "gauge",
    "seconds",
    "The machine's clock, unix time.",
    source="clock_gettime(CLOCK_REALTIME)",
    definition="When the system's collection began.",
    platforms=_ANY,
)
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


def _vmstat(name: str, key: str, unit: str, help: str, definition: str) -> Definition:
    return define(
        f"system_{name}_total",
        "counter",
        unit,
        help,
        source=f"/proc/vmstat {key}",
        definition=f"{definition} Read every 5 s.",
    )


# By /proc/vmstat's key: what it counts, family.
VMSTAT: dict[bytes, tuple[str, Definition]] = {
    b"pgpgin": (
        "KiB",
        _vmstat("paged_in_bytes", "pgpgin", "bytes", "Bytes read from disks.", "All reads of block devices."),
    ),
    b"pgpgout": (
        "KiB",
        _vmstat("paged_out_bytes", "pgpgout", "bytes", "Bytes written to disks.", "All writes to block devices."),
    ),
    b"pswpin": (
        "pages",
        _vmstat("swapped_in_bytes", "pswpin", "bytes", "Memory read back from swap.", "Pages times their size."),
    ),
    b"pswpout": (
        "pages",
        _vmstat("swapped_out_bytes", "pswpout", "bytes", "Memory written to swap.", "Pages times their size."),
    ),
    b"pgfault": ("", _vmstat("page_faults", "pgfault", "", "Page faults.", "With and without IO.")),
    b"pgmajfault": (
        "",
        _vmstat("major_page_faults", "pgmajfault", "", "Page faults that needed IO.", "Part of the page faults."),
    ),
    b"oom_kill": (
        "",
        _vmstat(
            "oom_kills",
            "oom_kill",
            "",
            "Processes killed for want of memory.",
            "On the whole machine, for want of its memory or of a cgroup's.",
        ),
    ),
}


def _socket(name: str, word: str, help: str, definition: str, unit: str = "") -> Definition:
    return define(
        f"system_{name}",
        "gauge",
        unit,
        help,
        source=f"/proc/net/sockstat {word}",
        definition=f"{definition} In our network namespace (in a pod, the pod's), every 5 s.",
    )


_MEMORY_OF_ALL = "Pages times their size; the kernel counts it for the whole machine."

# In the order in which the collector writes them.
SOCKETS: tuple[Definition, ...] = (
    _socket("sockets", "sockets used", "Sockets.", "Of all kinds."),
    _socket("tcp_sockets_in_use", "TCP inuse, sockstat6 TCP6 inuse", "TCP sockets in use.", "IPv4 and IPv6."),
    _socket("tcp_sockets_time_wait", "TCP tw", "TCP sockets in TIME_WAIT.", "IPv4 and IPv6."),
    _socket(
        "tcp_sockets_orphaned", "TCP orphan", "TCP sockets of no process.", "The kernel counts them for the machine."
    ),
    _socket("tcp_sockets_allocated", "TCP alloc", "TCP sockets allocated.", "The kernel counts them for the machine."),
    _socket("tcp_memory_bytes", "TCP mem", "Memory of TCP's buffers.", _MEMORY_OF_ALL, "bytes"),
    _socket("udp_sockets_in_use", "UDP inuse, sockstat6 UDP6 inuse", "UDP sockets in use.", "IPv4 and IPv6."),
    _socket("udp_memory_bytes", "UDP mem", "Memory of UDP's buffers.", _MEMORY_OF_ALL, "bytes"),
)
OPEN_FILES = define(
    "system_open_files",
    "gauge",
    "",
    "Open files of all processes.",
    source="/proc/sys/fs/file-nr",
    definition="Allocated less unused ones, every 5 s. Descriptors that were duplicated share one.",
)
OPEN_FILES_LIMIT = define(
    "system_open_files_limit",
    "gauge",
    "",
    "Files that may be open.",
    source="/proc/sys/fs/file-nr",
    definition="The setting fs.file-max; absent where it stands for no limit (2^62 and more).",
)
ENTROPY = define(
    "system_entropy_available_bits",
    "gauge",
    "",
    "Entropy of the kernel's random number generator.",
    source="/proc/sys/kernel/random/entropy_avail",
    definition="As the kernel gives it, every 15 s; since Linux 5.18 always 256 once it is seeded.",
)
CONNTRACK = define(
    "system_conntrack_entries",
    "gauge",
    "",
    "Connections that the firewall tracks.",
    source="/proc/sys/net/netfilter/nf_conntrack_count",
    definition="In our network namespace, every 5 s; absent where nothing is tracked.",
)
CONNTRACK_LIMIT = define(
    "system_conntrack_entries_limit",
    "gauge",
    "",
    "Connections that the firewall can track.",
    source="/proc/sys/net/netfilter/nf_conntrack_max",
    definition="As the kernel gives it; beyond it new connections are dropped.",
)


def _filesystem(name: str, unit: str, help: str, source: str, definition: str) -> Definition:
    return define(
        f"system_filesystem_{name}",
        "gauge",
        unit,
        help,
        labels="device fstype mountpoint",
        source=source,
        definition=f"{definition} Every 15 s, each filesystem once, at the mount nearest to its root; pseudo "
        "filesystems, and container runtimes' mounts for others, are left out (macOS: what is on no device). Absent "
        "while it does not answer.",
        platforms=_ANY,
    )


# In the order in which the collector writes them.
FILESYSTEM: tuple[Definition, ...] = (
    _filesystem("size_bytes", "bytes", "Size of the filesystem.", "statvfs(3) f_blocks", "Blocks times their size."),
    _filesystem("free_bytes", "bytes", "Free space.", "statvfs(3) f_bfree", "What is reserved for root included."),
    _filesystem("avail_bytes", "bytes", "Free space for all users.", "statvfs(3) f_bavail", "Root's reserve left out."),
    _filesystem(
        "files", "", "Inodes.", "statvfs(3) f_files", "Absent where the filesystem makes them as it needs them."
    ),
    _filesystem("files_free", "", "Free inodes.", "statvfs(3) f_ffree", "Absent where the filesystem has no count."),
    _filesystem(
        "readonly",
        "",
        "Whether the filesystem is mounted read-only, 1 or 0.",
        "/proc/self/mountinfo",
        "By the option ro of the mount or of the filesystem.",
    ),
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
