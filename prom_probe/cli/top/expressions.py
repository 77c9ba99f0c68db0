"""PromQL of `top`: everything about one moment of a tree, and what its sparklines are drawn from.

The page asks the same (`web/page/static/promql.js`): a rate is that between a counter's last two samples, since
smoothing would hide a process that was busy in one second alone.
"""

from __future__ import annotations

import math

from prom_probe.promql.literals import quote

# A process's metrics that are shown as they are, by their names in a row.
GAUGES = {
    "proctree_process_memory_peak_bytes": "peak",
    "proctree_process_open_fds": "descriptors",
    "proctree_process_resident_memory_bytes": "memory",
    "proctree_process_start_time_seconds": "start",
    "proctree_process_threads": "threads",
}
INFO = "proctree_process_info"

# The label that says what a series without a name is. `or` looks at labels alone: without it most would be dropped.
WHAT = "q"


def moment_expression(tree: str, interval_s: float) -> str:
    """Every value of the tree's processes, and of the tree itself."""
    of_tree = f"{{tree={quote(tree)}}}"
    gauges = "|".join(sorted([*GAUGES, INFO]))
    named = {
        "cpu": _process_cpu(of_tree, interval_s),
        "read": _per_second(f"proctree_process_io_read_bytes_total{of_tree}", interval_s),
        "write": _per_second(f"proctree_process_io_write_bytes_total{of_tree}", interval_s),
        "tree_memory": f"proctree_resident_memory_bytes{of_tree}",
        "tree_limit": f"cgroup_memory_limit_effective_bytes{of_tree}",
        "tree_cpu": f"sum by (tree) ({_per_second(f'proctree_cpu_seconds_total{of_tree}', interval_s)})",
        "tree_processes": f"proctree_processes{of_tree}",
        "tree_newest": f"timestamp(proctree_processes{of_tree})",
    }
    return f'{{__name__=~"{gauges}",tree={quote(tree)}}} or {_joined(named)}'


def cells_expression(tree: str, interval_s: float) -> str:
    """Memory and CPU of each PID and the memory of the tree, for a query every second."""
    of_tree = f"{{tree={quote(tree)}}}"
    memory = _greatest(f"proctree_process_resident_memory_bytes{of_tree}", interval_s)
    return _joined(
        {
            "memory": f"max by (pid) ({memory})",
            "cpu": f"max by (pid) ({_greatest(_process_cpu(of_tree, interval_s), interval_s)})",
            "tree_memory": _greatest(f"proctree_resident_memory_bytes{of_tree}", interval_s),
        }
    )


def _joined(named: dict[str, str]) -> str:
    return " or ".join(f'label_replace({expr}, "{WHAT}", "{name}", "", "")' for name, expr in named.items())


def _process_cpu(of_tree: str, interval_s: float) -> str:
    """CPU seconds a second. A process seen once has no rate: its whole time by its age stands for that."""
    counter = f"proctree_process_cpu_seconds_total{of_tree}"
    fresh = f"{max(1, math.ceil(interval_s))}s"
    start = f"max by (pid, comm) (last_over_time(proctree_process_start_time_seconds{of_tree}[{fresh}]))"
    return (
        f"sum by (pid, comm) ({_per_second(counter, interval_s)}) or "
        f"sum by (pid, comm) (last_over_time({counter}[{fresh}])) / on (pid, comm) clamp_min(time() - {start}, 1)"
    )


def _per_second(series: str, interval_s: float) -> str:
    """The window has two samples in it, even if one of them is late."""
    return f"irate({series}[{max(3, math.ceil(2.5 * interval_s))}s])"


def _greatest(expr: str, interval_s: float) -> str:
    """The greatest value of the second, where it has several samples."""
    if interval_s >= 1:
        return expr
    return f"max_over_time(({expr})[1s:{max(1, round(interval_s * 1000))}ms])"
