"""The metrics of a tree's cgroup."""

from prom_probe.model.definition import Definition, define
from prom_probe.model.family import MetricType

_SUMMED = "Summed over devices, those that are gone too; once for what passes a mapped device (LVM, dm-crypt, RAID)."


def _cgroup(name: str, type: MetricType, unit: str, help: str, source: str, definition: str = "") -> Definition:
    return define(
        name,
        type,
        unit,
        help,
        labels="tree",
        source=source,
        definition=definition or "As the kernel gives it.",
    )


def _pressure(name: str, resource: str, kind: str, help: str) -> Definition:
    throttling = "; throttling counts as waiting for a CPU" if resource == "cpu" else ""
    definition = f"The {kind} total{throttling}."
    return _cgroup(name, "counter", "seconds", help, f"{resource}.pressure {kind}", definition)


# fmt: off
# By the short name that `cgroup/files.py` uses.
FAMILIES: dict[str, Definition] = {
    "cpu_usage": _cgroup("cgroup_cpu_usage_seconds_total", "counter", "seconds", "CPU time used by the tree's cgroup.",
        "cpu.stat usage_usec; cpuacct.usage",
        "All processes of the cgroup, including those that no process waited for."),
    "cpu_user": _cgroup("cgroup_cpu_user_seconds_total", "counter", "seconds", "CPU time used in user mode.",
        "cpu.stat user_usec; cpuacct.stat user"),
    "cpu_system": _cgroup("cgroup_cpu_system_seconds_total", "counter", "seconds", "CPU time used in the kernel.",
        "cpu.stat system_usec; cpuacct.stat system"),
    "periods": _cgroup("cgroup_cpu_periods_total", "counter", "",
        "Periods of the CPU quota in which the cgroup was runnable.", "cpu.stat nr_periods"),
    "throttled_periods": _cgroup("cgroup_cpu_throttled_periods_total", "counter", "",
        "Periods in which the CPU quota was used up.", "cpu.stat nr_throttled"),
    "throttled": _cgroup("cgroup_cpu_throttled_seconds_total", "counter", "seconds",
        "Time for which the cgroup was kept from running by its CPU quota.",
        "cpu.stat throttled_usec; cpu.stat throttled_time", "Summed over CPUs."),
    "cpu_limit": _cgroup("cgroup_cpu_limit_cpus", "gauge", "", "CPUs that the cgroup's quota allows.",
        "cpu.max; cpu.cfs_quota_us", "Quota divided by period; absent where there is none. Read every 5 s."),
    "cpu_quota": _cgroup("cgroup_cpu_quota_seconds", "gauge", "seconds",
        "CPU time that the cgroup may use in a period.", "cpu.max; cpu.cfs_quota_us",
        "Absent where there is no limit. Read every 5 s."),
    "cpu_period": _cgroup("cgroup_cpu_period_seconds", "gauge", "seconds", "Length of a period of the CPU quota.",
        "cpu.max; cpu.cfs_period_us", "Absent where there is no limit. Read every 5 s."),
    "cpus_effective": _cgroup("cgroup_cpus_effective", "gauge", "", "CPUs that the cgroup can use.",
        "cpu.max, cpuset.cpus.effective; cpu.cfs_quota_us, cpuset.effective_cpus; /proc/PID/status Cpus_allowed_list",
        "The least of the CPU quotas and cpusets of the cgroup and of those above that can be seen, of the CPUs that "
        "its oldest process may run on, and of those online. Read every 5 s."),
    "cpu_weight": _cgroup("cgroup_cpu_weight", "gauge", "", "The cgroup's share of contended CPUs, 1 to 10,000.",
        "cpu.weight", "Version 2 only: version 1's shares have another scale. Read every 5 s."),
    "cpu_shares": _cgroup("cgroup_cpu_shares", "gauge", "", "The cgroup's share of contended CPUs, 2 to 262,144.",
        "cpu.shares", "Version 1 only. Read every 5 s."),
    "memory_usage": _cgroup("cgroup_memory_usage_bytes", "gauge", "bytes",
        "Memory charged to the cgroup, page cache included.", "memory.current; memory.usage_in_bytes"),
    "working_set": _cgroup("cgroup_memory_working_set_bytes", "gauge", "bytes",
        "Memory that the cgroup needs: what the kernel cannot simply drop.",
        "memory.current, memory.stat inactive_file",
        "Usage less inactive page cache, at least 0, as cAdvisor and Kubernetes have it."),
    "memory_limit": _cgroup("cgroup_memory_limit_bytes", "gauge", "bytes", "Memory that the cgroup may use.",
        "memory.max; memory.limit_in_bytes",
        "Absent where there is no limit; limits of cgroups above are ignored. Read every 5 s."),
    "memory_limit_effective": _cgroup("cgroup_memory_limit_effective_bytes", "gauge", "bytes",
        "Memory that the cgroup may use, limits above included.", "memory.max; memory.stat hierarchical_memory_limit",
        "The least limit of the cgroup and of those above that can be seen; absent where there is none. Every 5 s."),
    "memory_high": _cgroup("cgroup_memory_high_bytes", "gauge", "bytes",
        "Memory usage above which the cgroup is slowed down.", "memory.high",
        "Version 2 only; absent where there is no limit. Read every 5 s."),
    "memory_peak": _cgroup("cgroup_memory_peak_bytes", "gauge", "bytes",
        "The largest memory usage of the cgroup so far.", "memory.peak; memory.max_usage_in_bytes"),
    "anon": _cgroup("cgroup_memory_anonymous_bytes", "gauge", "bytes", "Memory without a file behind it.",
        "memory.stat anon; memory.stat total_rss"),
    "file": _cgroup("cgroup_memory_file_bytes", "gauge", "bytes", "Page cache, shared memory included.",
        "memory.stat file; memory.stat total_cache"),
    "kernel": _cgroup("cgroup_memory_kernel_bytes", "gauge", "bytes", "Kernel memory used for the cgroup.",
        "memory.stat kernel; memory.kmem.usage_in_bytes"),
    "slab": _cgroup("cgroup_memory_slab_bytes", "gauge", "bytes", "Kernel data structures of the cgroup.",
        "memory.stat slab", "Part of the kernel memory. Version 2 only."),
    "sock": _cgroup("cgroup_memory_sockets_bytes", "gauge", "bytes", "Memory of network buffers.", "memory.stat sock",
        "Version 2 only."),
    "shared": _cgroup("cgroup_memory_shared_bytes", "gauge", "bytes", "Shared memory and tmpfs.",
        "memory.stat shmem; memory.stat total_shmem", "Part of the page cache."),
    "mapped": _cgroup("cgroup_memory_mapped_bytes", "gauge", "bytes", "File pages that are mapped.",
        "memory.stat file_mapped; memory.stat total_mapped_file", "Part of the page cache."),
    "dirty": _cgroup("cgroup_memory_dirty_bytes", "gauge", "bytes", "Page cache that waits to be written.",
        "memory.stat file_dirty; memory.stat total_dirty"),
    "writeback": _cgroup("cgroup_memory_writeback_bytes", "gauge", "bytes", "Page cache that is being written.",
        "memory.stat file_writeback; memory.stat total_writeback"),
    "faults": _cgroup("cgroup_page_faults_total", "counter", "", "Page faults.",
        "memory.stat pgfault; memory.stat total_pgfault", "With and without IO."),
    "major_faults": _cgroup("cgroup_major_page_faults_total", "counter", "", "Page faults that needed IO.",
        "memory.stat pgmajfault; memory.stat total_pgmajfault"),
    "swap": _cgroup("cgroup_memory_swap_bytes", "gauge", "bytes", "Swap used.",
        "memory.swap.current; memory.stat total_swap"),
    "swap_limit": _cgroup("cgroup_memory_swap_limit_bytes", "gauge", "bytes", "Swap that the cgroup may use.",
        "memory.swap.max",
        "Version 2 only: version 1 limits memory and swap together. Absent where there is no limit. Read every 5 s."),
    "low_events": _cgroup("cgroup_memory_low_events_total", "counter", "",
        "Times that memory was reclaimed although usage was below memory.low.", "memory.events low", "Version 2 only."),
    "high_events": _cgroup("cgroup_memory_high_events_total", "counter", "",
        "Times that processes were slowed down because usage was above memory.high.", "memory.events high",
        "Version 2 only."),
    "limit_hits": _cgroup("cgroup_memory_limit_hits_total", "counter", "",
        "Times that usage was about to exceed the limit.", "memory.events max; memory.failcnt"),
    "ooms": _cgroup("cgroup_oom_events_total", "counter", "",
        "Times that the limit was reached and nothing could be reclaimed.", "memory.events oom",
        "Whether or not a process was killed for it. Version 2 only."),
    "oom_kills": _cgroup("cgroup_oom_kills_total", "counter", "", "Processes killed because memory ran out.",
        "memory.events oom_kill; memory.oom_control oom_kill"),
    "io_read": _cgroup("cgroup_io_read_bytes_total", "counter", "bytes", "Bytes read from block devices.",
        "io.stat rbytes; blkio.throttle.io_service_bytes_recursive Read", _SUMMED),
    "io_write": _cgroup("cgroup_io_write_bytes_total", "counter", "bytes", "Bytes written to block devices.",
        "io.stat wbytes; blkio.throttle.io_service_bytes_recursive Write", _SUMMED),
    "io_reads": _cgroup("cgroup_io_reads_total", "counter", "", "Reads from block devices.",
        "io.stat rios; blkio.throttle.io_serviced_recursive Read", _SUMMED),
    "io_writes": _cgroup("cgroup_io_writes_total", "counter", "", "Writes to block devices.",
        "io.stat wios; blkio.throttle.io_serviced_recursive Write", _SUMMED),
    "pids": _cgroup("cgroup_pids", "gauge", "", "Processes and threads in the cgroup.", "pids.current"),
    "pids_limit": _cgroup("cgroup_pids_limit", "gauge", "", "Processes and threads that the cgroup may have.",
        "pids.max", "Absent where there is no limit. Read every 5 s."),
    "cpu_waiting": _pressure("cgroup_pressure_cpu_waiting_seconds_total", "cpu", "some",
        "Time in which some thread waited for a CPU."),
    "cpu_stalled": _pressure("cgroup_pressure_cpu_stalled_seconds_total", "cpu", "full",
        "Time in which all threads waited for a CPU."),
    "memory_waiting": _pressure("cgroup_pressure_memory_waiting_seconds_total", "memory", "some",
        "Time in which some thread waited for memory."),
    "memory_stalled": _pressure("cgroup_pressure_memory_stalled_seconds_total", "memory", "full",
        "Time in which all threads waited for memory."),
    "io_waiting": _pressure("cgroup_pressure_io_waiting_seconds_total", "io", "some",
        "Time in which some thread waited for IO."),
    "io_stalled": _pressure("cgroup_pressure_io_stalled_seconds_total", "io", "full",
        "Time in which all threads waited for IO."),
}
# fmt: on


def _device(name: str, unit: str, help: str, key: str, blkio: str) -> Definition:
    return define(
        name,
        "counter",
        unit,
        help,
        labels="tree device",
        source=f"io.stat {key}; blkio.throttle.{blkio}_recursive",
        definition="Of each device that the cgroup has used since it was made.",
    )


# fmt: off
# By the short name of the sum over devices, which is a family of its own.
IO_DEVICE: dict[str, Definition] = {
    "io_read": _device("cgroup_io_device_read_bytes_total", "bytes", "Bytes read from a block device.", "rbytes",
        "io_service_bytes Read"),
    "io_write": _device("cgroup_io_device_write_bytes_total", "bytes", "Bytes written to a block device.", "wbytes",
        "io_service_bytes Write"),
    "io_reads": _device("cgroup_io_device_reads_total", "", "Reads from a block device.", "rios", "io_serviced Read"),
    "io_writes": _device("cgroup_io_device_writes_total", "", "Writes to a block device.", "wios", "io_serviced Write"),
}

DEFINITIONS: tuple[Definition, ...] = (*FAMILIES.values(), *IO_DEVICE.values())
