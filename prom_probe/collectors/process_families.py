"""The metrics of process trees and of their processes."""

from prom_probe.collectors.definition import define

_ANY = "Linux, macOS"
_REAPED = (
    "of all live processes of the tree and of the children they reaped, held: what a process used stays counted when "
    "it is gone, whoever reaped it, and is never counted twice"
)

PROCESSES = define(
    "proctree_processes",
    "gauge",
    "",
    "Processes of the tree, zombies included.",
    labels="tree",
    source="/proc",
    definition="Count of processes that belong to the tree, our own left out; 0 while a watch matches none.",
    platforms=_ANY,
)
THREADS = define(
    "proctree_threads",
    "gauge",
    "",
    "Threads of the tree's processes.",
    labels="tree",
    source="/proc/PID/stat num_threads",
    definition="Sum over the tree's processes that are no zombies.",
    platforms=_ANY,
)
CPU = define(
    "proctree_cpu_seconds_total",
    "counter",
    "seconds",
    "CPU time used by the tree.",
    labels="tree mode",
    source="/proc/PID/stat utime + cutime, stime + cstime",
    definition=f'User (mode="user") and system (mode="system") time {_REAPED}.',
)
RESIDENT = define(
    "proctree_resident_memory_bytes",
    "gauge",
    "bytes",
    "Resident memory of the tree; pages that processes share count once for each.",
    labels="tree",
    source="/proc/PID/statm resident",
    definition="Sum over the tree's processes of resident pages times the page size.",
    platforms=_ANY,
)
VIRTUAL = define(
    "proctree_virtual_memory_bytes",
    "gauge",
    "bytes",
    "Virtual memory of the tree.",
    labels="tree",
    source="/proc/PID/statm size",
    definition="Sum over the tree's processes of mapped pages times the page size.",
)
OPEN_FDS = define(
    "proctree_open_fds",
    "gauge",
    "",
    "Open file descriptors of the tree.",
    labels="tree",
    source="/proc/PID/fd",
    definition="Sum over the tree's processes; absent while one of them denies it.",
    platforms=_ANY,
)
IO_READ = define(
    "proctree_io_read_bytes_total",
    "counter",
    "bytes",
    "Bytes that the tree read from storage.",
    labels="tree",
    source="/proc/PID/io read_bytes",
    definition=f"Bytes fetched from storage (not from the page cache) {_REAPED}; absent while a process denies it.",
)
IO_WRITE = define(
    "proctree_io_write_bytes_total",
    "counter",
    "bytes",
    "Bytes that the tree sent to storage.",
    labels="tree",
    source="/proc/PID/io write_bytes",
    definition=f"Bytes dirtied for storage {_REAPED}; absent while a process denies it.",
)
START_TIME = define(
    "proctree_start_time_seconds",
    "gauge",
    "seconds",
    "When the oldest live process of the tree started, unix time.",
    labels="tree",
    source="/proc/PID/stat starttime",
    definition="Boot time plus the smallest start time of the tree's processes.",
    platforms=_ANY,
)

PROCESS_CPU = define(
    "proctree_process_cpu_seconds_total",
    "counter",
    "seconds",
    "CPU time used by the process itself, reaped children left out.",
    labels="tree pid comm mode",
    source="/proc/PID/stat utime, stime",
    definition="User and system time of all its threads, dead ones included.",
    platforms=_ANY,
)
PROCESS_THREADS = define(
    "proctree_process_threads",
    "gauge",
    "",
    "Threads of the process.",
    labels="tree pid comm",
    source="/proc/PID/stat num_threads",
    definition="As the kernel gives it.",
    platforms=_ANY,
)
PROCESS_RESIDENT = define(
    "proctree_process_resident_memory_bytes",
    "gauge",
    "bytes",
    "Resident memory of the process.",
    labels="tree pid comm",
    source="/proc/PID/statm resident",
    definition="Resident pages times the page size.",
    platforms=_ANY,
)
PROCESS_VIRTUAL = define(
    "proctree_process_virtual_memory_bytes",
    "gauge",
    "bytes",
    "Virtual memory of the process.",
    labels="tree pid comm",
    source="/proc/PID/statm size",
    definition="Mapped pages times the page size.",
)
PROCESS_OPEN_FDS = define(
    "proctree_process_open_fds",
    "gauge",
    "",
    "Open file descriptors of the process.",
    labels="tree pid comm",
    source="/proc/PID/fd",
    definition="As the kernel counts them.",
    platforms=_ANY,
)
PROCESS_IO_READ = define(
    "proctree_process_io_read_bytes_total",
    "counter",
    "bytes",
    "Bytes that the process read from storage.",
    labels="tree pid comm",
    source="/proc/PID/io read_bytes",
    definition="Bytes fetched from storage, less those of reaped children that had been sampled themselves.",
)
PROCESS_IO_WRITE = define(
    "proctree_process_io_write_bytes_total",
    "counter",
    "bytes",
    "Bytes that the process sent to storage.",
    labels="tree pid comm",
    source="/proc/PID/io write_bytes",
    definition="Bytes dirtied for storage, less those of reaped children that had been sampled themselves.",
)
PROCESS_START_TIME = define(
    "proctree_process_start_time_seconds",
    "gauge",
    "seconds",
    "When the process started, unix time.",
    labels="tree pid comm",
    source="/proc/PID/stat starttime",
    definition="Boot time plus the start time.",
    platforms=_ANY,
)
