"""Events as PromQL can tell them: marks in the graphs, where Grafana's Prometheus data source knows no events.

A counter is compared with itself one step before, so that each step tells what happened in it and no other does. Starts
and ends of processes have their own time as value. Both need series of processes; those there are straight from a
sidecar, or with --expose.per-process.
"""

from __future__ import annotations

from grafana.board import OF_TREE, OURS, Annotation


def _in_step(counter: str, labels: str) -> str:
    return f"{counter}{{{labels}}} - {counter}{{{labels}}} offset $__interval"


_STARTED = f"proctree_process_start_time_seconds{{{OF_TREE}}}"


def oom_kills(labels: str) -> Annotation:
    rose = _in_step("cgroup_oom_kills_total", labels)
    return Annotation("OOM kills", "red", f"{rose} > 0", "{{tree}}: killed because memory ran out")


def throttled(labels: str) -> Annotation:
    """As the alert has it."""
    periods = _in_step("cgroup_cpu_periods_total", labels)
    part = f"({_in_step('cgroup_cpu_throttled_periods_total', labels)}) / ({periods})"
    return Annotation("Throttled", "orange", f"{part} > 0.25", "{{tree}}: in more than 25 % of the periods")


WORKER_RESTARTS = Annotation(
    "Worker restarts",
    "purple",
    f"{_in_step('prom_probe_worker_restarts_total', OURS)} > 0",
    "prom_probe: worker {{worker}} was restarted",
)
SKIPPED = Annotation(
    "Skipped collections",
    "yellow",
    f"{_in_step('prom_probe_collector_overruns_total', OURS)} > 0",
    "prom_probe: no samples of {{collector}}",
)
STARTS = Annotation(
    "Process starts",
    "green",
    f"last_over_time({_STARTED}[$__interval]) * 1000 >= $__from",
    "{{comm}} {{pid}} started",
    at_value=True,
    shown=False,
)
ENDS = Annotation(
    "Process ends",
    "blue",
    f"(max_over_time(timestamp({_STARTED})[$__rate_interval:$__interval])"
    f" unless on (job, instance, tree, pid) {_STARTED}) * 1000",
    "{{comm}} {{pid}} ended",
    at_value=True,
    shown=False,
)
XIDS = Annotation(
    "Xid errors",
    "red",
    f"{_in_step('gpu_xid_errors_total', OURS)} > 0",
    "Xid {{xid}} of {{uuid}}",
)
