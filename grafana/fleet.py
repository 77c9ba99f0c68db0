"""What the dashboard of many sidecars shows."""

from __future__ import annotations

from grafana.annotations import WORKER_RESTARTS, oom_kills
from grafana.board import INSTANCE, JOB, OURS, RATE, Board, Panel
from grafana.links import TO_PAGE, TO_TREE

_ANONYMOUS, _PEAK = f"proctree_anonymous_memory_max_bytes{{{OURS}}}", f"cgroup_memory_peak_bytes{{{OURS}}}"
_HIGHEST_OF_LIMIT = (
    f"({_ANONYMOUS} unless {_PEAK} < {_ANONYMOUS} or {_PEAK} < {_ANONYMOUS})"
    f" / cgroup_memory_limit_effective_bytes{{{OURS}}}"
)

FLEET = Board(
    "fleet",
    "prom_probe: sidecar fleet",
    "Many sidecars through a central Prometheus: which are near a limit, which were, which drop samples.",
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
                            f"topk(10, max by (instance, tree) ({_HIGHEST_OF_LIMIT}))",
                            "{{instance}} {{tree}}",
                        ),
                    ),
                    "The anonymous memory of the window's highest second, as part of the memory limit, and at most the"
                    " kernel's own peak: as the alert has it.",
                    ((0.8, "yellow"), (0.9, "red")),
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
    annotations=(oom_kills(OURS), WORKER_RESTARTS),
    links=(TO_TREE, TO_PAGE),
)
