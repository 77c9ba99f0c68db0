"""The metrics of process trees and of their processes."""

from prom_probe.model.definition import define

_ANY = "Linux, macOS"
_REAPED = (
    "of all live processes of the tree and of the children they reaped. What a process used stays counted after its "
    "end, whichever process reaped it, and never counts twice"
)

# fmt: off
PROCESS_START_TIME = define("proctree_process_start_time_seconds", "gauge", "seconds",
    "When the process started, unix time.", labels="tree pid comm", source="/proc/PID/stat starttime",
    definition="Boot time plus the start time.", platforms=_ANY)
COUNTERS_START = define("proctree_counters_start_time_seconds", "gauge", "seconds",
    "When the tree's counters were at zero, unix time: they count what its processes did since.", labels="tree",
    source="/proc/PID/stat starttime",
    definition="Boot time plus the smallest start time of all processes that the tree has had, ended ones too.",
    platforms=_ANY, local=True)
PROCESSES = define("proctree_processes", "gauge", "", "Processes of the tree, zombies included.", labels="tree",
    source="/proc",
    definition="Count of processes that belong to the tree, our own left out; 0 while a watch matches none.",
    platforms=_ANY)
THREADS = define("proctree_threads", "gauge", "", "Threads of the tree's processes.", labels="tree",
    source="/proc/PID/stat num_threads", definition="Sum over the tree's processes that are not zombies.",
    platforms=_ANY)
CPU = define("proctree_cpu_seconds_total", "counter", "seconds", "CPU time used by the tree.", labels="tree mode",
    source="/proc/PID/stat utime + cutime, stime + cstime",
    definition=f'User (mode="user") and system (mode="system") time {_REAPED}.', since=COUNTERS_START)
RESIDENT = define("proctree_resident_memory_bytes", "gauge", "bytes",
    "Resident memory of the tree; pages that processes share count once for each.", labels="tree",
    source="/proc/PID/statm resident",
    definition="Sum over the tree's processes of resident pages times the page size. Between its vfork and its exec a "
    "child has its parent's memory, and COMMAND a copy of ours: neither counts, in this and all other sums of memory.",
    platforms=_ANY)
VIRTUAL = define("proctree_virtual_memory_bytes", "gauge", "bytes", "Virtual memory of the tree.", labels="tree",
    source="/proc/PID/statm size", definition="Sum over the tree's processes of mapped pages times the page size.")
OPEN_FDS = define("proctree_open_fds", "gauge", "", "Open file descriptors of the tree.", labels="tree",
    source="/proc/PID/fd", definition="Sum over the tree's processes; absent while one of them denies it.",
    platforms=_ANY)
IO_READ = define("proctree_io_read_bytes_total", "counter", "bytes", "Bytes that the tree read from storage.",
    labels="tree", source="/proc/PID/io read_bytes",
    definition=f"Bytes fetched from storage (not from the page cache) {_REAPED}; absent while a process denies it.",
    since=COUNTERS_START)
IO_WRITE = define("proctree_io_write_bytes_total", "counter", "bytes", "Bytes that the tree sent to storage.",
    labels="tree", source="/proc/PID/io write_bytes",
    definition=f"Bytes dirtied for storage {_REAPED}; absent while a process denies it.", since=COUNTERS_START)
ANONYMOUS = define("proctree_anonymous_memory_bytes", "gauge", "bytes",
    "Resident memory of the tree that no file backs: heaps, stacks, private copies.", labels="tree",
    source="/proc/PID/statm resident - shared",
    definition="Sum over the tree's processes of RssAnon: resident pages less those of files and of shared memory. "
    "Pages shared by fork count once for each process.")
FILE = define("proctree_file_memory_bytes", "gauge", "bytes", "Resident memory of the tree that is mapped from files.",
    labels="tree", source="/proc/PID/statm shared, /proc/PID/status RssShmem",
    definition="Sum over the tree's processes of RssFile: statm's shared pages less RssShmem.")
SHARED = define("proctree_shared_memory_bytes", "gauge", "bytes",
    "Resident memory of the tree that is shared memory or tmpfs.", labels="tree", source="/proc/PID/status RssShmem",
    definition="Sum over the tree's processes of RssShmem, read when statm's shared pages have changed and every 8th "
    "collection. A page that processes share counts once for each.")
SWAP = define("proctree_swap_memory_bytes", "gauge", "bytes", "Memory of the tree that is swapped out.", labels="tree",
    source="/proc/PID/status VmSwap",
    definition="Sum over the tree's processes of VmSwap (anonymous private pages), read every 8th collection.")
PEAK = define("proctree_largest_process_memory_peak_bytes", "gauge", "bytes",
    "The most resident memory that any one process of the tree has ever had.", labels="tree",
    source="/proc/PID/status VmHWM",
    definition="Largest VmHWM of all processes that the tree has had, read as for proctree_process_memory_peak_bytes, "
    "so spikes between two collections are in it; at COMMAND's end also the ru_maxrss of wait4(2), which has those of "
    "all processes that it reaped.")
PSS = define("proctree_pss_memory_bytes", "gauge", "bytes",
    "Resident memory of the tree, shared pages divided among the processes that map them.", labels="tree",
    source="/proc/PID/smaps_rollup Pss",
    definition="Sum over the processes that proctree_processes_without_pss does not count. With "
    "--collect.pss-interval.")
USS = define("proctree_uss_memory_bytes", "gauge", "bytes", "Resident memory that is of one process of the tree alone.",
    labels="tree", source="/proc/PID/smaps_rollup Private_Clean + Private_Dirty",
    definition="Sum over the processes that proctree_processes_without_pss does not count. With "
    "--collect.pss-interval.")
WITHOUT_PSS = define("proctree_processes_without_pss", "gauge", "",
    "Processes of the tree that are not in its PSS and USS.", labels="tree", source="/proc/PID/smaps_rollup",
    definition="Processes with more resident memory than --collect.pss-max-rss, that deny access, or that have not had "
    "their turn yet. With --collect.pss-interval.")
FAULTS = define("proctree_page_faults_total", "counter", "", "Page faults of the tree.", labels="tree type",
    source="/proc/PID/stat minflt + cminflt, majflt + cmajflt",
    definition=f'Without IO (type="minor") and with IO (type="major"), {_REAPED}.', since=COUNTERS_START)
WAITED = define("proctree_cpu_waiting_seconds_total", "counter", "seconds",
    "Time that the tree was ready to run and waited for a CPU.", labels="tree",
    source="/proc/PID/schedstat; with --collect.context-switches /proc/PID/task/TID/schedstat",
    definition="Run-queue delay of the main threads of the tree's processes; of all their threads with "
    "--collect.context-switches. What a process or thread had waited by its last reading stays counted after its end; "
    "those that live for less than a collection are left out. Absent where the kernel keeps no such account.",
    since=COUNTERS_START)
CONTEXT_SWITCHES = define("proctree_context_switches_total", "counter", "", "Context switches of the tree's threads.",
    labels="tree type", source="/proc/PID/task/TID/status voluntary_ctxt_switches, nonvoluntary_ctxt_switches",
    definition='Because the thread waited for something (type="voluntary") or its time was up (type="nonvoluntary"), '
    "over all threads of the tree's processes. What a thread had by its last reading stays counted after its end. "
    "With --collect.context-switches.", since=COUNTERS_START)
STATE = define("proctree_processes_state", "gauge", "", "Processes of the tree by the state of their main thread.",
    labels="tree state", source="/proc/PID/stat state",
    definition="One of running (R: it runs or is ready to), sleeping (S, I), disk_sleep (D), stopped (T, t), zombie "
    "(Z, X), as it was when the process last ran.")
THREAD_STATE = define("proctree_threads_state", "gauge", "", "Threads of the tree by state.", labels="tree state",
    source="/proc/PID/task/TID/status State",
    definition="As proctree_processes_state has them, when the process's threads were last looked at. With "
    "--collect.context-switches.")
FDS_RATIO = define("proctree_open_fds_ratio", "gauge", "ratio",
    "The largest part of its limit of open descriptors that a process of the tree uses.", labels="tree",
    source="/proc/PID/fd, /proc/PID/limits",
    definition="Largest, over the tree's processes, of open descriptors divided by the soft limit, which is read at a "
    "process's start and every 32nd collection.")
UNATTRIBUTED = define("proctree_cpu_unattributed_seconds_total", "counter", "seconds",
    "CPU time of the tree's cgroup that proctree_cpu_seconds_total does not have.", labels="tree",
    source="cpu.stat usage_usec; cpuacct.usage; cgroup.procs",
    definition="What the cgroup used while all its processes were the tree's, less what the tree's counter gained, as "
    "far as that is more than its rounding (two ticks a process): of processes that lived for less than a "
    "collection and that no process of the tree waited for. Absent while the cgroup has other processes.")
WITHOUT_SERIES = define("proctree_processes_without_series", "gauge", "",
    "Processes of the tree that have no series of their own.", labels="tree", source="/proc",
    definition="Processes that started while --collect.max-processes others had series (one that ends makes room); "
    "in a fork storm (more than 200 new processes at once, or two a second for long) all but the largest and busiest "
    "until their third collection or later; COMMAND until its exec. The tree's sums include them.", platforms=_ANY)
_WINDOW = "in the last --expose.max-window; kept for as long when the tree is gone"
RESIDENT_MAX = define("proctree_resident_memory_max_bytes", "gauge", "bytes",
    "The most resident memory that the tree had in the rolling window.", labels="tree", source=RESIDENT.family.name,
    definition="Largest of proctree_resident_memory_bytes and of what must have been between two collections: if the "
    "VmHWM of a process has risen above its resident memory of both, that peak plus, for each other process, the "
    "smaller of its resident memory of both; for one process at a time, since two may have peaked at different "
    "moments. COMMAND's ru_maxrss at its end counts too if it has run for less than the window. Of all collections "
    f"{_WINDOW}.", platforms=_ANY)
ANONYMOUS_MAX = define("proctree_anonymous_memory_max_bytes", "gauge", "bytes",
    "The most anonymous memory that the tree had in the rolling window.", labels="tree", source=ANONYMOUS.family.name,
    definition=f"Largest proctree_anonymous_memory_bytes of all collections {_WINDOW}.")
PROCESSES_MAX = define("proctree_processes_max", "gauge", "",
    "The most processes that the tree had in the rolling window.", labels="tree", source=PROCESSES.family.name,
    definition=f"Largest proctree_processes of all collections {_WINDOW}.", platforms=_ANY)
THREADS_MAX = define("proctree_threads_max", "gauge", "", "The most threads that the tree had in the rolling window.",
    labels="tree", source=THREADS.family.name, definition=f"Largest proctree_threads of all collections {_WINDOW}.",
    platforms=_ANY)
OPEN_FDS_MAX = define("proctree_open_fds_max", "gauge", "",
    "The most open file descriptors that the tree had in the rolling window.", labels="tree",
    source=OPEN_FDS.family.name, definition=f"Largest proctree_open_fds of all collections {_WINDOW}.", platforms=_ANY)
CPUS_MAX = define("proctree_cpus_used_max", "gauge", "", "The most CPUs that the tree used in the rolling window.",
    labels="tree", source=CPU.family.name,
    definition="Largest increase of the tree's CPU seconds per second between two collections that are half a second "
    f"apart or more, {_WINDOW}. What a process used before it joined is left out.")
RUN_QUEUE_MAX = define("proctree_run_queue_length_max", "gauge", "",
    "The most threads of the tree that waited for a CPU in the rolling window.", labels="tree",
    source=WAITED.family.name,
    definition="Largest increase of proctree_cpu_waiting_seconds_total per second between two collections that are "
    f"half a second apart or more, {_WINDOW}: how many waited on average; at most as many as there are processes, or "
    "threads with --collect.context-switches, since the kernel counts a wait as a whole when it ends.")
START_TIME = define("proctree_start_time_seconds", "gauge", "seconds",
    "When the oldest live process of the tree started, unix time.", labels="tree", source="/proc/PID/stat starttime",
    definition="Boot time plus the smallest start time of the tree's processes.", platforms=_ANY)

PROCESS_CPU = define("proctree_process_cpu_seconds_total", "counter", "seconds",
    "CPU time used by the process itself, reaped children left out.", labels="tree pid comm mode",
    source="/proc/PID/stat utime, stime", definition="User and system time of all its threads, dead ones included.",
    platforms=_ANY, since=PROCESS_START_TIME)
PROCESS_THREADS = define("proctree_process_threads", "gauge", "", "Threads of the process.", labels="tree pid comm",
    source="/proc/PID/stat num_threads", definition="As the kernel gives it.", platforms=_ANY)
PROCESS_RESIDENT = define("proctree_process_resident_memory_bytes", "gauge", "bytes", "Resident memory of the process.",
    labels="tree pid comm", source="/proc/PID/statm resident", definition="Resident pages times the page size.",
    platforms=_ANY)
PROCESS_VIRTUAL = define("proctree_process_virtual_memory_bytes", "gauge", "bytes", "Virtual memory of the process.",
    labels="tree pid comm", source="/proc/PID/statm size", definition="Mapped pages times the page size.")
PROCESS_OPEN_FDS = define("proctree_process_open_fds", "gauge", "", "Open file descriptors of the process.",
    labels="tree pid comm", source="/proc/PID/fd", definition="As the kernel counts them.", platforms=_ANY)
PROCESS_IO_READ = define("proctree_process_io_read_bytes_total", "counter", "bytes",
    "Bytes that the process read from storage.", labels="tree pid comm", source="/proc/PID/io read_bytes",
    definition="Bytes fetched from storage, less those of reaped children that had been sampled themselves.",
    since=PROCESS_START_TIME)
PROCESS_IO_WRITE = define("proctree_process_io_write_bytes_total", "counter", "bytes",
    "Bytes that the process sent to storage.", labels="tree pid comm", source="/proc/PID/io write_bytes",
    definition="Bytes dirtied for storage, less those of reaped children that had been sampled themselves.",
    since=PROCESS_START_TIME)
PROCESS_INFO = define("proctree_process_info", "gauge", "",
    "What identifies the process: its parent, its name and its command line.", labels="tree pid ppid comm cmdline",
    source="/proc/PID/stat ppid, comm; /proc/PID/cmdline",
    definition="1 while the process has series. Another parent, name or command line is another series. "
    "cmdline, with --collect.cmdline: the arguments separated by spaces, at most 256 characters (... stands for the "
    "middle of a longer one), bytes that are not UTF-8 as \\xNN, control characters escaped. Read after a start, an "
    "exec and another name, and from there after 1, 2, 4, 8, ... collections, since programs write titles over it.",
    platforms=_ANY)
PROCESS_ANONYMOUS = define("proctree_process_anonymous_memory_bytes", "gauge", "bytes",
    "Resident memory of the process that no file backs.", labels="tree pid comm",
    source="/proc/PID/statm resident - shared",
    definition="RssAnon: resident pages less those of files and of shared memory.")
PROCESS_SHARED = define("proctree_process_shared_memory_bytes", "gauge", "bytes",
    "Resident memory of the process that is shared memory or tmpfs.", labels="tree pid comm",
    source="/proc/PID/status RssShmem", definition="RssShmem, read as for proctree_shared_memory_bytes.")
PROCESS_SWAP = define("proctree_process_swap_memory_bytes", "gauge", "bytes",
    "Memory of the process that is swapped out.", labels="tree pid comm", source="/proc/PID/status VmSwap",
    definition="VmSwap, read every 8th collection.")
PROCESS_PEAK = define("proctree_process_memory_peak_bytes", "gauge", "bytes",
    "The most resident memory that the process has had.", labels="tree pid comm", source="/proc/PID/status VmHWM",
    definition="VmHWM (since the last exec). Read in each collection for the three largest processes of the tree and "
    "for those that have changed much since it was last read (resident memory by more than a tenth or 16 MiB, or 8 "
    "page faults); for the others every 8th collection.")
PROCESS_MAX_FDS = define("proctree_process_max_fds", "gauge", "", "How many descriptors the process may have open.",
    labels="tree pid comm", source="/proc/PID/limits",
    definition="The soft limit, absent where there is none; read as for proctree_open_fds_ratio.")
PROCESS_FAULTS = define("proctree_process_page_faults_total", "counter", "",
    "Page faults of the process itself, reaped children left out.", labels="tree pid comm type",
    source="/proc/PID/stat minflt, majflt",
    definition='Without IO (type="minor") and with IO (type="major"), of all its threads.', since=PROCESS_START_TIME)
PROCESS_PSS = define("proctree_process_pss_memory_bytes", "gauge", "bytes",
    "Resident memory of the process, shared pages divided among the processes that map them.", labels="tree pid comm",
    source="/proc/PID/smaps_rollup Pss",
    definition="Read every --collect.pss-interval, or later where many processes wait for their turn.")
PROCESS_USS = define("proctree_process_uss_memory_bytes", "gauge", "bytes",
    "Resident memory that is of the process alone.", labels="tree pid comm",
    source="/proc/PID/smaps_rollup Private_Clean + Private_Dirty",
    definition="Read every --collect.pss-interval, or later where many processes wait for their turn.")
PROCESS_CONTEXT_SWITCHES = define("proctree_process_context_switches_total", "counter", "",
    "Context switches of the process's threads.", labels="tree pid comm type",
    source="/proc/PID/task/TID/status voluntary_ctxt_switches, nonvoluntary_ctxt_switches",
    definition="As proctree_context_switches_total has them. With --collect.context-switches.",
    since=PROCESS_START_TIME)
