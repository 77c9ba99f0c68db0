"""What the dashboard of the sidecar itself shows."""

from __future__ import annotations

from grafana.annotations import SKIPPED, WORKER_RESTARTS
from grafana.board import INSTANCE, JOB, OURS, RATE, Board, Panel

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
    annotations=(SKIPPED, WORKER_RESTARTS),
)
