"""The metrics of the whole machine."""

from prom_probe.collectors.system.device_families import DISK, FILESYSTEM, FREQUENCIES, NETWORK, TEMPERATURE
from prom_probe.model.definition import Definition, define

_ANY = "Linux, macOS"

# In /proc/stat's order.
CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")

# fmt: off
BOOT_TIME = define("system_boot_time_seconds", "gauge", "seconds", "When the machine was booted, unix time.",
    source="/proc/stat btime", definition="As the kernel gives it.", platforms=_ANY)
CPU = define("system_cpu_seconds_total", "counter", "seconds", "Time that the CPUs spent, by mode, summed over CPUs.",
    labels="mode", source="/proc/stat cpu",
    definition="As the kernel counts it. Where its number falls by less than 3 s the counter waits; after a larger "
    "fall it goes on from where it was. Guests' time is in user and nice. macOS has user, nice, system and idle.",
    platforms=_ANY, since=BOOT_TIME)
CPUS = define("system_cpus", "gauge", "", "CPUs online.", source="sysconf(_SC_NPROCESSORS_ONLN)",
    definition="Count of CPUs that are online, whatever a cgroup or an affinity mask allows.", platforms=_ANY)
CPUS_EFFECTIVE = define("system_cpus_effective", "gauge", "", "CPUs that can be used from here.",
    source="sched_getaffinity(2), cpu.max or cpu.cfs_quota_us",
    definition="The smaller of the CPUs in our affinity mask (which a cpuset narrows) and the smallest CPU quota of "
    "our cgroup and those above it that are visible.")
# fmt: on


def _load(name: str, help: str) -> Definition:
    return define(
        name,
        "gauge",
        "",
        help,
        source="/proc/loadavg",
        definition="Exponentially damped average of the runnable and, on Linux, uninterruptibly waiting threads.",
        platforms=_ANY,
    )


LOADS: tuple[Definition, ...] = (
    _load("system_load1", "Load average over 1 min."),
    _load("system_load5", "Load average over 5 min."),
    _load("system_load15", "Load average over 15 min."),
)
# fmt: off
THREADS = define("system_threads", "gauge", "", "Threads of all processes.", source="/proc/loadavg",
    definition="All threads of all processes, and the kernel's own.")
# fmt: on


def _memory(key: str, name: str, help: str, definition: str, platforms: str = "Linux") -> tuple[bytes, Definition]:
    source = f"/proc/meminfo {key}"
    return b"%b:" % key.encode(), define(
        name, "gauge", "bytes", help, source=source, definition=definition, platforms=platforms
    )


# fmt: off
# By /proc/meminfo's key, in its order.
MEMORY: dict[bytes, Definition] = dict((
    _memory("MemTotal", "system_memory_total_bytes", "Memory.", "What the kernel manages of the RAM.", _ANY),
    _memory("MemFree", "system_memory_free_bytes", "Unused memory.", "Pages that hold nothing."),
    _memory("MemAvailable", "system_memory_available_bytes", "Memory that can be had without swapping.",
        "The kernel's estimate: free, and what it could reclaim."),
    _memory("Buffers", "system_memory_buffers_bytes", "Memory of block device buffers.", "As the kernel gives it."),
    _memory("Cached", "system_memory_cached_bytes", "Page cache.",
        "File pages and shared memory, swap cache left out."),
    _memory("SwapTotal", "system_memory_swap_total_bytes", "Swap space.", "As the kernel gives it.", _ANY),
    _memory("SwapFree", "system_memory_swap_free_bytes", "Unused swap space.", "As the kernel gives it.", _ANY),
    _memory("Dirty", "system_memory_dirty_bytes", "Memory that waits to be written.", "As the kernel gives it."),
    _memory("Writeback", "system_memory_writeback_bytes", "Memory that is being written.", "As the kernel gives it."),
    _memory("AnonPages", "system_memory_anonymous_bytes", "Memory without a file behind it.",
        "Mapped anonymous pages."),
    _memory("Mapped", "system_memory_mapped_bytes", "File pages that are mapped.",
        "Part of system_memory_cached_bytes."),
    _memory("Shmem", "system_memory_shared_bytes", "Shared memory and tmpfs.", "Part of system_memory_cached_bytes."),
    _memory("SReclaimable", "system_memory_slab_reclaimable_bytes", "Kernel memory that can be reclaimed.",
        "Caches of inodes and the like."),
    _memory("SUnreclaim", "system_memory_slab_unreclaimable_bytes", "Kernel memory that cannot be reclaimed.",
        "The rest of the slab."),
    _memory("KernelStack", "system_memory_kernel_stack_bytes", "Kernel stacks of all threads.",
        "As the kernel gives it."),
    _memory("PageTables", "system_memory_page_tables_bytes", "Page tables.", "Those of processes; the lowest level."),
    _memory("CommitLimit", "system_memory_commit_limit_bytes", "Memory that may be promised.",
        "Swap and a share of the RAM; only enforced where vm.overcommit_memory is 2."),
    _memory("Committed_AS", "system_memory_committed_bytes", "Memory that has been promised.",
        "What all of it takes if it is used."),
))

TIME = define("system_time_seconds", "gauge", "seconds", "The machine's clock, unix time.",
    source="clock_gettime(CLOCK_REALTIME)", definition="When the system's collection began.", platforms=_ANY)
CONTEXT_SWITCHES = define("system_context_switches_total", "counter", "", "Context switches.", source="/proc/stat ctxt",
    definition="Of all CPUs since boot.", since=BOOT_TIME)
INTERRUPTS = define("system_interrupts_total", "counter", "", "Interrupts serviced.", source="/proc/stat intr",
    definition="Of all CPUs since boot, softirqs left out.", since=BOOT_TIME)
FORKS = define("system_forks_total", "counter", "", "Processes and threads created.", source="/proc/stat processes",
    definition="Since boot.", since=BOOT_TIME)
RUNNING = define("system_threads_running", "gauge", "", "Threads that run or wait for a CPU.",
    source="/proc/stat procs_running", definition="As the kernel gives it.")
BLOCKED = define("system_threads_blocked", "gauge", "", "Threads that wait for IO.", source="/proc/stat procs_blocked",
    definition="As the kernel gives it.")
# fmt: on


def _vmstat(key: str, counts: str, name: str, help: str, definition: str) -> tuple[bytes, tuple[str, Definition]]:
    family = define(
        name,
        "counter",
        "bytes" if counts else "",
        help,
        source=f"/proc/vmstat {key}",
        definition=f"{definition} Read every 5 s.",
        since=BOOT_TIME,
    )
    return key.encode(), (counts, family)


# fmt: off
# By /proc/vmstat's key: what it counts ("" for events), family.
VMSTAT: dict[bytes, tuple[str, Definition]] = dict((
    _vmstat("pgpgin", "KiB", "system_paged_in_bytes_total", "Bytes read from disks.", "All reads of block devices."),
    _vmstat("pgpgout", "KiB", "system_paged_out_bytes_total", "Bytes written to disks.",
        "All writes to block devices."),
    _vmstat("pswpin", "pages", "system_swapped_in_bytes_total", "Memory read back from swap.",
        "Pages times their size."),
    _vmstat("pswpout", "pages", "system_swapped_out_bytes_total", "Memory written to swap.", "Pages times their size."),
    _vmstat("pgfault", "", "system_page_faults_total", "Page faults.", "With and without IO."),
    _vmstat("pgmajfault", "", "system_major_page_faults_total", "Page faults that needed IO.",
        "Part of the page faults."),
    _vmstat("oom_kill", "", "system_oom_kills_total", "Processes killed because memory ran out.",
        "On the whole machine, whether its memory or a cgroup's ran out."),
))
# fmt: on


def _socket(name: str, word: str, help: str, definition: str, unit: str = "") -> Definition:
    return define(
        name,
        "gauge",
        unit,
        help,
        source=f"/proc/net/sockstat {word}",
        definition=f"{definition} In our network namespace (in a pod, the pod's), every 5 s.",
    )


_MEMORY_OF_ALL = "Pages times their size; the kernel counts it for the whole machine."

# fmt: off
# In the order in which the collector writes them.
SOCKETS: tuple[Definition, ...] = (
    _socket("system_sockets", "sockets used", "Sockets.", "Of all kinds."),
    _socket("system_tcp_sockets_in_use", "TCP inuse, sockstat6 TCP6 inuse", "TCP sockets in use.", "IPv4 and IPv6."),
    _socket("system_tcp_sockets_time_wait", "TCP tw", "TCP sockets in TIME_WAIT.", "IPv4 and IPv6."),
    _socket("system_tcp_sockets_orphaned", "TCP orphan", "TCP sockets of no process.",
        "The kernel counts them for the machine."),
    _socket("system_tcp_sockets_allocated", "TCP alloc", "TCP sockets allocated.",
        "The kernel counts them for the machine."),
    _socket("system_tcp_memory_bytes", "TCP mem", "Memory of TCP's buffers.", _MEMORY_OF_ALL, "bytes"),
    _socket("system_udp_sockets_in_use", "UDP inuse, sockstat6 UDP6 inuse", "UDP sockets in use.", "IPv4 and IPv6."),
    _socket("system_udp_memory_bytes", "UDP mem", "Memory of UDP's buffers.", _MEMORY_OF_ALL, "bytes"),
)
OPEN_FILES = define("system_open_files", "gauge", "", "Open files of all processes.", source="/proc/sys/fs/file-nr",
    definition="Allocated less unused ones, every 5 s. Descriptors that were duplicated share one.")
OPEN_FILES_LIMIT = define("system_open_files_limit", "gauge", "", "Files that may be open.",
    source="/proc/sys/fs/file-nr",
    definition="The setting fs.file-max; absent where it stands for no limit (2^62 and more).")
ENTROPY = define("system_entropy_available_bits", "gauge", "", "Entropy of the kernel's random number generator.",
    source="/proc/sys/kernel/random/entropy_avail",
    definition="As the kernel gives it, every 15 s; since Linux 5.18 always 256 once it is seeded.")
CONNTRACK = define("system_conntrack_entries", "gauge", "", "Connections that the firewall tracks.",
    source="/proc/sys/net/netfilter/nf_conntrack_count",
    definition="In our network namespace, every 5 s; absent where nothing is tracked.")
CONNTRACK_LIMIT = define("system_conntrack_entries_limit", "gauge", "", "Connections that the firewall can track.",
    source="/proc/sys/net/netfilter/nf_conntrack_max",
    definition="As the kernel gives it; beyond it new connections are dropped.")
# fmt: on


def _pressure(name: str, resource: str, kind: str, help: str) -> Definition:
    return define(
        name,
        "counter",
        "seconds",
        help,
        source=f"/proc/pressure/{resource} {kind}",
        definition=f"The kernel's {kind} total of pressure stall information; throttling by a CPU quota counts too.",
        since=BOOT_TIME,
    )


# fmt: off
# (resource, [some, full]); the whole machine never stalls for want of CPU, so that has no "full".
PRESSURE: tuple[tuple[str, tuple[Definition, ...]], ...] = (
    ("cpu", (_pressure("system_pressure_cpu_waiting_seconds_total", "cpu", "some",
        "Time in which some thread waited for a CPU."),)),
    ("memory", (_pressure("system_pressure_memory_waiting_seconds_total", "memory", "some",
        "Time in which some thread waited for memory."), _pressure("system_pressure_memory_stalled_seconds_total",
        "memory", "full", "Time in which all threads waited for memory."))),
    ("io", (_pressure("system_pressure_io_waiting_seconds_total", "io", "some",
        "Time in which some thread waited for IO."), _pressure("system_pressure_io_stalled_seconds_total", "io", "full",
        "Time in which all threads waited for IO."))),
)


DEFINITIONS: tuple[Definition, ...] = (
    CPU,
    CPUS,
    CPUS_EFFECTIVE,
    *FREQUENCIES,
    TEMPERATURE,
    *LOADS,
    THREADS,
    *MEMORY.values(),
    TIME,
    BOOT_TIME,
    CONTEXT_SWITCHES,
    INTERRUPTS,
    FORKS,
    RUNNING,
    BLOCKED,
    *(definition for _, definitions in PRESSURE for definition in definitions),
    *(definition for _, definition in VMSTAT.values()),
    *NETWORK,
    *SOCKETS,
    CONNTRACK,
    CONNTRACK_LIMIT,
    *(definition for _, _, definition in DISK),
    *FILESYSTEM,
    OPEN_FILES,
    OPEN_FILES_LIMIT,
    ENTROPY,
)
