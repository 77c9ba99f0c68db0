"""What the dashboard of a process tree shows."""

from __future__ import annotations

from grafana.annotations import ENDS, SKIPPED, STARTS, WORKER_RESTARTS, oom_kills, throttled
from grafana.board import INSTANCE, JOB, OF_TREE, RANGE, RATE, TREE, Board, Column, Panel
from grafana.links import TO_PAGE

_PROCESS = "job, instance, tree, pid, comm"
_LARGEST = f"topk(50, max by ({_PROCESS}) (max_over_time(proctree_process_resident_memory_bytes{{{OF_TREE}}}{RANGE})))"


def _near(limit: str, used: str) -> str:
    """A limit where at least a quarter of it is used: beside a distant one nothing else could be seen."""
    return f"min by (instance, tree) ({limit}{{{OF_TREE}}}) <= 4 * max by (instance, tree) ({used}{{{OF_TREE}}})"


def _of_largest(expr: str, aggregation: str = "max", labels: str = "") -> str:
    """The same of the processes that had the most memory."""
    return f"{aggregation} by ({_PROCESS}{labels}) ({expr}) and on ({_PROCESS}) {_LARGEST}"


PROCESS_TREE = Board(
    "process-tree",
    "prom_probe: process tree",
    "What a watched program and all its children use. Straight to the sidecar every second is there, down to each PID.",
    (JOB, INSTANCE, TREE),
    (
        (
            "Now",
            (
                Panel(
                    "stat",
                    "Processes",
                    "short",
                    ((f"sum(proctree_processes{{{OF_TREE}}})", ""),),
                    "Processes of the tree.",
                    empty="None",
                ),
                Panel(
                    "stat",
                    "Threads",
                    "short",
                    ((f"sum(proctree_threads{{{OF_TREE}}})", ""),),
                    "Threads of the tree.",
                    empty="None",
                ),
                Panel(
                    "stat",
                    "CPUs in use",
                    "short",
                    ((f"sum(rate(proctree_cpu_seconds_total{{{OF_TREE}}}{RATE}))", ""),),
                    "CPU seconds a second, children that were reaped included.",
                    empty="None",
                ),
                Panel(
                    "stat",
                    "Resident memory",
                    "bytes",
                    ((f"sum(proctree_resident_memory_bytes{{{OF_TREE}}})", ""),),
                    "Resident pages of all processes; what they share counts once for each.",
                    empty="None",
                ),
                Panel(
                    "stat",
                    "Highest memory",
                    "bytes",
                    ((f"sum(proctree_resident_memory_max_bytes{{{OF_TREE}}})", ""),),
                    "The highest resident memory of any second in the window, whoever scraped when; trees added up.",
                    empty="None",
                ),
                Panel(
                    "stat",
                    "File limit used",
                    "percentunit",
                    ((f"max(proctree_open_fds_ratio{{{OF_TREE}}})", ""),),
                    "The process that is nearest to its limit of open files.",
                    ((0.7, "yellow"), (0.9, "red")),
                    empty="None",
                ),
            ),
        ),
        (
            "CPU and memory",
            (
                Panel(
                    "wide",
                    "CPU",
                    "short",
                    (
                        (
                            f"sum by (instance, tree, mode) (rate(proctree_cpu_seconds_total{{{OF_TREE}}}{RATE}))",
                            "{{instance}} {{tree}} {{mode}}",
                        ),
                        (_near("cgroup_cpu_limit_cpus", "proctree_cpus_used_max"), "{{instance}} {{tree}} limit"),
                    ),
                    "CPUs in use, in user mode and in the kernel; the quota, where a quarter of it was used.",
                    stack=True,
                ),
                Panel(
                    "wide",
                    "Memory",
                    "bytes",
                    (
                        (
                            f"sum by (instance, tree) (proctree_resident_memory_bytes{{{OF_TREE}}})",
                            "{{instance}} {{tree}} resident",
                        ),
                        (
                            f"max by (instance, tree) (proctree_resident_memory_max_bytes{{{OF_TREE}}})",
                            "{{instance}} {{tree}} highest of the window",
                        ),
                        (
                            _near("cgroup_memory_limit_effective_bytes", "proctree_resident_memory_max_bytes"),
                            "{{instance}} {{tree}} limit",
                        ),
                    ),
                    "Resident memory of all processes, the highest of any second in the window, and the cgroup's limit,"
                    " where a quarter of it was used.",
                ),
            ),
        ),
        (
            "Processes, files, input and output",
            (
                Panel(
                    "quarter",
                    "Processes and threads",
                    "short",
                    (
                        (
                            f"sum by (instance, tree) (proctree_processes{{{OF_TREE}}})",
                            "{{instance}} {{tree}} processes",
                        ),
                        (f"sum by (instance, tree) (proctree_threads{{{OF_TREE}}})", "{{instance}} {{tree}} threads"),
                        (_near("cgroup_pids_limit", "cgroup_pids"), "{{instance}} {{tree}} limit"),
                    ),
                    "How many there are, and how many the cgroup may have, where a quarter of those are there.",
                ),
                Panel(
                    "quarter",
                    "Open files",
                    "short",
                    ((f"sum by (instance, tree) (proctree_open_fds{{{OF_TREE}}})", "{{instance}} {{tree}}"),),
                    "Open descriptors of all processes.",
                ),
                Panel(
                    "quarter",
                    "Disk",
                    "Bps",
                    (
                        (
                            f"sum by (instance, tree) (rate(proctree_io_read_bytes_total{{{OF_TREE}}}{RATE}))",
                            "{{instance}} {{tree}} read",
                        ),
                        (
                            f"sum by (instance, tree) (rate(proctree_io_write_bytes_total{{{OF_TREE}}}{RATE}))",
                            "{{instance}} {{tree}} written",
                        ),
                    ),
                    "Bytes from and to storage.",
                ),
                Panel(
                    "quarter",
                    "Page faults",
                    "short",
                    (
                        (
                            f"sum by (instance, tree, type) (rate(proctree_page_faults_total{{{OF_TREE}}}{RATE}))",
                            "{{instance}} {{tree}} {{type}}",
                        ),
                    ),
                    "Major ones wait for a disk.",
                ),
            ),
        ),
        (
            "The kernel's limits",
            (
                Panel(
                    "graph",
                    "Memory of the cgroup",
                    "bytes",
                    (
                        (
                            f"sum by (instance, tree) (cgroup_memory_working_set_bytes{{{OF_TREE}}})",
                            "{{instance}} {{tree}} working set",
                        ),
                        (
                            f"min by (instance, tree) (cgroup_memory_limit_effective_bytes{{{OF_TREE}}})",
                            "{{instance}} {{tree}} limit",
                        ),
                    ),
                    "What the kernel cannot simply drop, of all that is in the same cgroup, and the limit.",
                    empty="The cgroup cannot be read",
                ),
                Panel(
                    "graph",
                    "Throttled",
                    "percentunit",
                    (
                        (
                            f"sum by (instance, tree) (rate(cgroup_cpu_throttled_seconds_total{{{OF_TREE}}}{RATE}))",
                            "{{instance}} {{tree}}",
                        ),
                    ),
                    "Part of the time for which the CPU quota kept the cgroup from running, summed over CPUs.",
                    ((0.1, "yellow"), (0.5, "red")),
                    empty="No CPU quota",
                ),
                Panel(
                    "graph",
                    "Killed because memory ran out",
                    "short",
                    ((f"sum by (instance, tree) (cgroup_oom_kills_total{{{OF_TREE}}})", "{{instance}} {{tree}}"),),
                    "Processes that the kernel has killed in the tree's cgroup.",
                    ((1, "red"),),
                    empty="The cgroup cannot be read",
                ),
            ),
        ),
        (
            "Each process (straight to the sidecar, or with --expose.per-process)",
            (
                Panel(
                    "wide",
                    "CPU of the busiest",
                    "short",
                    (
                        (
                            "topk(10, sum by (instance, tree, pid, comm)"
                            f" (rate(proctree_process_cpu_seconds_total{{{OF_TREE}}}{RATE})))",
                            "{{comm}} {{pid}} {{instance}}",
                        ),
                    ),
                    "CPUs in use by each of the ten busiest processes.",
                    empty="Only straight to the sidecar, or with --expose.per-process",
                ),
                Panel(
                    "wide",
                    "Memory of the largest",
                    "bytes",
                    (
                        (
                            "topk(10, max by (instance, tree, pid, comm)"
                            f" (max_over_time(proctree_process_resident_memory_bytes{{{OF_TREE}}}{RATE})))",
                            "{{comm}} {{pid}} {{instance}}",
                        ),
                    ),
                    "Resident memory of each of the ten largest processes: the highest of each step, so that no step"
                    " hides a peak.",
                    empty="Only straight to the sidecar, or with --expose.per-process",
                ),
                Panel(
                    "table",
                    "Largest processes",
                    "short",
                    (
                        (_LARGEST, ""),
                        (_of_largest(f"proctree_process_resident_memory_bytes{{{OF_TREE}}}"), ""),
                        (
                            _of_largest(
                                f"last_over_time(proctree_process_cpu_seconds_total{{{OF_TREE}}}{RANGE})", "sum"
                            ),
                            "",
                        ),
                        (_of_largest(f"max_over_time(proctree_process_threads{{{OF_TREE}}}{RANGE})"), ""),
                        (
                            _of_largest(
                                f"1000 * last_over_time(proctree_process_start_time_seconds{{{OF_TREE}}}{RANGE})"
                            ),
                            "",
                        ),
                        (
                            _of_largest(
                                f"last_over_time(proctree_process_info{{{OF_TREE}}}{RANGE})", "max", ", cmdline"
                            ),
                            "",
                        ),
                    ),
                    "The fifty processes of the shown time that had the most memory, ended ones too: those have"
                    " no memory at its end. CPU time is of the process's whole life.",
                    empty="Only straight to the sidecar, or with --expose.per-process",
                    columns=(
                        Column("Highest memory", "bytes"),
                        Column("Memory at the end", "bytes", "ended"),
                        Column("CPU time", "s"),
                        Column("Most threads"),
                        Column("Started", "dateTimeAsIso"),
                        Column(""),
                    ),
                ),
            ),
        ),
    ),
    annotations=(oom_kills(OF_TREE), throttled(OF_TREE), SKIPPED, WORKER_RESTARTS, STARTS, ENDS),
    links=(TO_PAGE,),
)
