"""The metrics of our own processes."""

from prom_probe.model.definition import Definition, define

# fmt: off
START_TIME = define("prom_probe_start_time_seconds", "gauge", "seconds", "When prom_probe was started, unix time.",
    source="/proc/PID/stat starttime", definition="Boot time plus the start time of the supervisor.")
UP = define("prom_probe_worker_up", "gauge", "", "Whether the worker runs.", labels="worker", source="the supervisor",
    definition="1 while the supervisor has a process of the worker, 0 while it waits to restart it.",
    platforms="all", essential=True)
RESTARTS = define("prom_probe_worker_restarts_total", "counter", "", "Restarts of the worker.", labels="worker",
    source="the supervisor", definition="Count of the worker's processes after the first.",
    platforms="all", essential=True, since=START_TIME)
CPU = define("prom_probe_worker_cpu_seconds_total", "counter", "seconds", "CPU time that the worker used.",
    labels="worker", source="/proc/PID/stat utime + stime",
    definition="User and system time of the worker's processes one after the other.", essential=True,
    since=START_TIME)
RESIDENT = define("prom_probe_worker_resident_memory_bytes", "gauge", "bytes",
    "Resident memory of the worker; pages that our processes share count once for each.", labels="worker",
    source="/proc/PID/statm resident", definition="Resident pages times the page size.", essential=True)
PRIORITY = define("prom_probe_worker_priority_granted", "gauge", "",
    "Whether the probe worker runs with the priority of --collect.priority.", labels="worker",
    source="getpriority, sched_getscheduler",
    definition="1 if the worker's nice value or policy is the one asked for, or none was; 0 if the kernel denied it.",
    platforms="all")
STUCK = define(
    "prom_probe_worker_stuck",
    "gauge",
    "",
    "Files that a worker leaves out because it hung in reading one.",
    labels="worker source",
    source="the supervisor",
    definition="Count of files of this kind that are left out: after three beats in one file, 3 seconds at least, the "
    "worker is replaced, and its successor reads that file again after a minute, then after two, up to an hour. "
    "`source` is /proc/PID/cmdline, say, or a cgroup file's name. 0 once they are read again; absent until it happens.",
    platforms="all",
    essential=True,
)
WORKER = (UP, RESTARTS, CPU, RESIDENT, PRIORITY)

DEFINITIONS: tuple[Definition, ...] = (*WORKER, STUCK, START_TIME)
