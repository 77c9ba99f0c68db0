"""The metrics of the machine's devices: clocks, sensors, network interfaces, disks, filesystems."""

from prom_probe.model.definition import Definition, define
from prom_probe.model.family import MetricType
from prom_probe.sources import block_stat as disk

_ANY = "Linux, macOS"

# fmt: off
FREQUENCIES = (
    define("system_cpu_frequency_hertz", "gauge", "hertz", "Clock frequency of the CPUs, their mean.",
        source="/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",
        definition="Over the CPUs online, every 5 s; the driver's last request where the hardware does not report it."),
    define("system_cpu_frequency_fastest_hertz", "gauge", "hertz",
        "Clock frequency of the CPU that is the fastest at the time.",
        source="/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",
        definition="As system_cpu_frequency_hertz, but the largest and not the mean."),
    define("system_cpu_frequency_limit_hertz", "gauge", "hertz", "The highest clock frequency that a CPU can run at.",
        source="/sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq",
        definition="The hardware's limit, of the fastest kind of CPU."),
)
TEMPERATURE = define("system_temperature_celsius", "gauge", "celsius", "Temperature.", labels="sensor",
    source="/sys/class/hwmon/hwmon*/temp*_input, /sys/class/thermal/thermal_zone*/temp",
    definition="As the sensor gives it, every 5 s. The sensor is named by its chip and its label, of two of the same "
    "name the second by its device too; a thermal zone is named by its type, and left out where a chip has that name.")
# fmt: on


def _network(name: str, unit: str, help: str) -> Definition:
    return define(
        name,
        "counter",
        unit,
        help,
        labels="device",
        source="/proc/net/dev",
        definition="As the device counts it, in our network namespace: in a pod, the pod's devices.",
        platforms=_ANY,
    )


# In the order of `proc_net_dev.FIELDS`.
NETWORK: tuple[Definition, ...] = (
    _network("system_network_receive_bytes_total", "bytes", "Bytes received."),
    _network("system_network_receive_packets_total", "", "Packets received."),
    _network("system_network_receive_errors_total", "", "Packets not received because of an error."),
    _network("system_network_receive_drop_total", "", "Packets not received because they were dropped."),
    _network("system_network_transmit_bytes_total", "bytes", "Bytes sent."),
    _network("system_network_transmit_packets_total", "", "Packets sent."),
    _network("system_network_transmit_errors_total", "", "Packets not sent because of an error."),
    _network("system_network_transmit_drop_total", "", "Packets not sent because they were dropped."),
)


def _disk(name: str, unit: str, help: str, *, type: MetricType = "counter", platforms: str = "Linux") -> Definition:
    return define(
        name,
        type,
        unit,
        help,
        labels="device",
        source="/sys/block/DEVICE/stat",
        definition="As the kernel counts it for the whole device; partitions, loop, RAM and removable "
        "devices are left out, hidden ones (paths of NVMe multipath), and devices that were never used.",
        platforms=platforms,
    )


# fmt: off
# (field of /sys/block/DEVICE/stat, how many of its units make a base unit, family).
DISK: tuple[tuple[int, float, Definition], ...] = (
    (disk.READS, 1, _disk("system_disk_reads_completed_total", "", "Reads completed.", platforms=_ANY)),
    (disk.READ_SECTORS, 1 / disk.SECTOR_BYTES, _disk("system_disk_read_bytes_total", "bytes", "Bytes read.",
        platforms=_ANY)),
    (disk.READ_MS, 1e3, _disk("system_disk_read_time_seconds_total", "seconds",
        "Time that reads took, summed over them.")),
    (disk.WRITES, 1, _disk("system_disk_writes_completed_total", "", "Writes completed.", platforms=_ANY)),
    (disk.WRITTEN_SECTORS, 1 / disk.SECTOR_BYTES, _disk("system_disk_written_bytes_total", "bytes", "Bytes written.",
        platforms=_ANY)),
    (disk.WRITE_MS, 1e3, _disk("system_disk_write_time_seconds_total", "seconds",
        "Time that writes took, summed over them.")),
    (disk.IO_NOW, 1, _disk("system_disk_io_now", "", "Requests in flight.", type="gauge")),
    (disk.IO_MS, 1e3, _disk("system_disk_io_time_seconds_total", "seconds", "Time in which the device was busy.")),
    (disk.WEIGHTED_IO_MS, 1e3, _disk("system_disk_io_time_weighted_seconds_total", "seconds",
        "Time that requests were in flight, summed over them.")),
)
# fmt: on


def _filesystem(name: str, unit: str, help: str, source: str, definition: str) -> Definition:
    return define(
        name,
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


# fmt: off
# In the order in which the collector writes them.
FILESYSTEM: tuple[Definition, ...] = (
    _filesystem("system_filesystem_size_bytes", "bytes", "Size of the filesystem.", "statvfs(3) f_blocks",
        "Blocks times their size."),
    _filesystem("system_filesystem_free_bytes", "bytes", "Free space.", "statvfs(3) f_bfree",
        "What is reserved for root included."),
    _filesystem("system_filesystem_avail_bytes", "bytes", "Free space for all users.", "statvfs(3) f_bavail",
        "Root's reserve left out."),
    _filesystem("system_filesystem_files", "", "Inodes.", "statvfs(3) f_files",
        "Absent where the filesystem makes them as it needs them."),
    _filesystem("system_filesystem_files_free", "", "Free inodes.", "statvfs(3) f_ffree",
        "Absent where the filesystem has no count."),
    _filesystem("system_filesystem_readonly", "", "Whether the filesystem is mounted read-only, 1 or 0.",
        "/proc/self/mountinfo", "By the option ro of the mount or of the filesystem."),
)
