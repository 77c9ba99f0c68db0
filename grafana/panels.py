"""What the dashboards show: every panel is a row with its title, expressions, unit and description."""

from __future__ import annotations

from collections.abc import Sequence

from grafana.board import INSTANCE, JOB, OF_TREE, OURS, RATE, TREE, Board, Panel
from grafana.gpu import GPU

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
                ),
                Panel(
                    "stat", "Threads", "short", ((f"sum(proctree_threads{{{OF_TREE}}})", ""),), "Threads of the tree."
                ),
                Panel(
                    "stat",
                    "CPUs in use",
                    "short",
                    ((f"sum(rate(proctree_cpu_seconds_total{{{OF_TREE}}}{RATE}))", ""),),
                    "CPU seconds a second, children that were reaped included.",
                ),
                Panel(
                    "stat",
                    "Resident memory",
                    "bytes",
                    ((f"sum(proctree_resident_memory_bytes{{{OF_TREE}}})", ""),),
                    "Resident pages of all processes; what they share counts once for each.",
                ),
                Panel(
                    "stat",
                    "Highest memory",
                    "bytes",
                    ((f"sum(proctree_resident_memory_max_bytes{{{OF_TREE}}})", ""),),
                    "The highest resident memory of any second in the window, whoever scraped when; trees added up.",
                ),
                Panel(
                    "stat",
                    "File limit used",
                    "percentunit",
                    ((f"max(proctree_open_fds_ratio{{{OF_TREE}}})", ""),),
                    "The process that is nearest to its limit of open files.",
                    ((0.7, "yellow"), (0.9, "red")),
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
                    ),
                    "CPUs in use, in user mode and in the kernel.",
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
                    ),
                    "Resident memory of all processes now, and the highest of any second in the window.",
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
                    ),
                    "How many there are.",
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
                            f"min by (instance, tree) (cgroup_memory_limit_bytes{{{OF_TREE}}})",
                            "{{instance}} {{tree}} limit",
                        ),
                    ),
                    "What the kernel counts against the limit, of all that is in the same cgroup, and the limit.",
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
                    "Killed for want of memory",
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
                            "topk(10, sum by (instance, pid, comm)"
                            f" (rate(proctree_process_cpu_seconds_total{{{OF_TREE}}}{RATE})))",
                            "{{instance}} {{comm}} {{pid}}",
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
                            f"topk(10, proctree_process_resident_memory_bytes{{{OF_TREE}}})",
                            "{{instance}} {{comm}} {{pid}}",
                        ),
                    ),
                    "Resident memory of each of the ten largest processes.",
                    empty="Only straight to the sidecar, or with --expose.per-process",
                ),
            ),
        ),
    ),
)

FLEET = Board(
    "fleet",
    "prom_probe: sidecar fleet",
    "Many sidecars through a central Prometheus: who is near a limit, who was, who drops samples.",
    (JOB, INSTANCE),
    (
        (
            "Near a limit",
            (
                Panel(
                    "wide",
                    "Highest memory of the limit",
                    "percentunit",
                    (
                        (
                            f"topk(10, max by (instance, tree) (proctree_resident_memory_max_bytes{{{OURS}}})"
                            f" / min by (instance, tree) (cgroup_memory_limit_bytes{{{OURS}}}))",
                            "{{instance}} {{tree}}",
                        ),
                    ),
                    "The highest second of the window, as part of the memory limit.",
                    ((0.8, "yellow"), (0.95, "red")),
                    empty="No memory limit",
                ),
                Panel(
                    "wide",
                    "Throttled",
                    "percentunit",
                    (
                        (
                            "topk(10, sum by (instance, tree)"
                            f" (rate(cgroup_cpu_throttled_seconds_total{{{OURS}}}{RATE})))",
                            "{{instance}} {{tree}}",
                        ),
                    ),
                    "Time lost to the CPU quota, summed over CPUs.",
                    ((0.1, "yellow"), (0.5, "red")),
                    empty="No CPU quota",
                ),
                Panel(
                    "wide",
                    "CPU",
                    "short",
                    (
                        (
                            f"topk(10, sum by (instance, tree) (rate(proctree_cpu_seconds_total{{{OURS}}}{RATE})))",
                            "{{instance}} {{tree}}",
                        ),
                    ),
                    "CPUs in use by the ten busiest trees.",
                ),
                Panel(
                    "wide",
                    "Memory",
                    "bytes",
                    (
                        (
                            f"topk(10, sum by (instance, tree) (proctree_resident_memory_bytes{{{OURS}}}))",
                            "{{instance}} {{tree}}",
                        ),
                    ),
                    "Resident memory of the ten largest trees.",
                ),
            ),
        ),
        (
            "The sidecars",
            (
                Panel(
                    "table",
                    "Versions",
                    "short",
                    ((f"prom_probe_build_info{{{OURS}}}", ""),),
                    "What runs where.",
                ),
                Panel(
                    "graph",
                    "Worker restarts",
                    "short",
                    (
                        (
                            f"sum by (instance) (increase(prom_probe_worker_restarts_total{{{OURS}}}[1h]))",
                            "{{instance}}",
                        ),
                    ),
                    "Workers that died, in the last hour.",
                    ((1, "red"),),
                ),
                Panel(
                    "graph",
                    "Lost frames",
                    "short",
                    (
                        (
                            f"sum by (instance) (increase(prom_probe_ring_dropped_frames_total{{{OURS}}}[1h]))",
                            "{{instance}}",
                        ),
                    ),
                    "Collections that did not get into a ring, in the last hour.",
                    ((1, "red"),),
                ),
                Panel(
                    "graph",
                    "Memory of the sidecar",
                    "bytes",
                    ((f"sum by (instance) (prom_probe_worker_resident_memory_bytes{{{OURS}}})", "{{instance}}"),),
                    "Resident memory of its workers; what they share counts once for each.",
                ),
            ),
        ),
    ),
    refresh="30s",
    since="now-6h",
)

OURSELVES = Board(
    "self",
    "prom_probe: itself",
    "The health of the sidecar: its workers, rings, store and answers. Through a central Prometheus, all panels have "
    "data with --expose.self=full.",
    (JOB, INSTANCE),
    (
        (
            "Workers",
            (
                Panel(
                    "graph",
                    "CPU",
                    "percentunit",
                    (
                        (
                            f"sum by (instance, worker) (rate(prom_probe_worker_cpu_seconds_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{worker}}",
                        ),
                    ),
                    "CPU of each worker; all together stay below 1 % of a core.",
                ),
                Panel(
                    "graph",
                    "Memory",
                    "bytes",
                    (
                        (
                            f"sum by (instance, worker) (prom_probe_worker_resident_memory_bytes{{{OURS}}})",
                            "{{instance}} {{worker}}",
                        ),
                    ),
                    "Resident memory of each worker.",
                ),
                Panel(
                    "graph",
                    "Time of a collection",
                    "s",
                    (
                        (
                            f"max by (instance, collector) (prom_probe_collector_duration_seconds{{{OURS}}})",
                            "{{instance}} {{collector}}",
                        ),
                    ),
                    "How long the newest collection took.",
                ),
                Panel(
                    "graph",
                    "Collections",
                    "short",
                    (
                        (
                            f"sum by (instance, collector) (rate(prom_probe_collector_runs_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{collector}}",
                        ),
                        (
                            f"sum by (instance, collector) (rate(prom_probe_collector_overruns_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{collector}} skipped",
                        ),
                    ),
                    "Collections a second, and beats that were skipped.",
                ),
                Panel(
                    "graph",
                    "Sources that cannot be read",
                    "short",
                    ((f"prom_probe_sources_unreadable{{{OURS}}}", "{{instance}}"),),
                    "How many; `prom-probe doctor` names and explains them.",
                ),
                Panel(
                    "graph",
                    "Frames",
                    "short",
                    (
                        (
                            f"sum by (instance, ring) (rate(prom_probe_ring_frames_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{ring}}",
                        ),
                        (
                            f"sum by (instance, ring) (rate(prom_probe_ring_dropped_frames_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{ring}} dropped",
                        ),
                        (
                            f"sum by (instance, ring) (rate(prom_probe_ring_corrupt_frames_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{ring}} corrupt",
                        ),
                    ),
                    "Frames through the rings a second.",
                ),
            ),
        ),
        (
            "Store",
            (
                Panel(
                    "graph",
                    "Series",
                    "short",
                    ((f"sum(prom_probe_tsdb_series{{{OURS}}})", "series"),),
                    "Series in the store.",
                ),
                Panel(
                    "graph",
                    "Samples",
                    "short",
                    ((f"sum(prom_probe_tsdb_samples{{{OURS}}})", "samples"),),
                    "Samples in the store.",
                ),
                Panel(
                    "graph",
                    "Bytes",
                    "bytes",
                    ((f"sum(prom_probe_tsdb_storage_bytes{{{OURS}}})", "samples and index"),),
                    "What samples and index take.",
                ),
                Panel(
                    "wide",
                    "Refused samples",
                    "short",
                    (
                        (
                            f"sum by (instance, reason) (rate(prom_probe_tsdb_rejected_samples_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{reason}}",
                        ),
                    ),
                    "Samples that the store did not take, by reason.",
                    empty="None was refused",
                ),
                Panel(
                    "wide",
                    "From collected to stored",
                    "s",
                    (
                        (
                            "histogram_quantile(0.99, sum by (le)"
                            f" (rate(prom_probe_ingest_latency_seconds_bucket{{{OURS}}}{RATE})))",
                            "99 %",
                        ),
                    ),
                    "The 99th percentile of the time from the end of a collection to its samples being stored.",
                ),
            ),
        ),
        (
            "Answers",
            (
                Panel(
                    "wide",
                    "Requests",
                    "reqps",
                    (
                        (
                            f"sum by (instance, handler, code) (rate(prom_probe_http_requests_total{{{OURS}}}{RATE}))",
                            "{{instance}} {{handler}} {{code}}",
                        ),
                    ),
                    "HTTP requests a second, by route and status.",
                ),
                Panel(
                    "wide",
                    "Time of a query",
                    "s",
                    (
                        (
                            "histogram_quantile(0.99, sum by (le)"
                            f" (rate(prom_probe_query_duration_seconds_bucket{{{OURS}}}{RATE})))",
                            "99 %",
                        ),
                    ),
                    "The 99th percentile, waiting for a place included.",
                ),
            ),
        ),
    ),
)

DASHBOARDS: Sequence[Board] = (PROCESS_TREE, FLEET, GPU, OURSELVES)
