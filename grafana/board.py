"""What a dashboard is made of, and what the expressions of several have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Panel(NamedTuple):
    """`kind`: stat, quarter, graph, wide (these three are graphs) or table. `targets`: (PromQL, legend).

    `thresholds`: (from, colour). What is named "… limit" is a dashed line, not in the legend. `top`: the axis ends
    there. `empty`: what stands in place of "No data" where that is usual. `stack`: the series are parts of a whole.
    """

    kind: str
    title: str
    unit: str
    targets: Sequence[tuple[str, str]]
    description: str
    thresholds: Sequence[tuple[float, str]] = ()
    top: float | None = None
    empty: str = ""
    stack: bool = False


class Board(NamedTuple):
    """`variables`: (name, label, query); `rows`: (title, panels)."""

    name: str
    title: str
    description: str
    variables: Sequence[tuple[str, str, str]]
    rows: Sequence[tuple[str, Sequence[Panel]]]
    refresh: str = "5s"
    since: str = "now-15m"


# Straight to a sidecar the series have no job and no instance: "All" is `.*`, which takes that too.
JOB = ("job", "Job", "label_values(prom_probe_build_info, job)")
INSTANCE = ("instance", "Instance", 'label_values(prom_probe_build_info{job=~"$job"}, instance)')
TREE = ("tree", "Tree", 'label_values(proctree_processes{job=~"$job", instance=~"$instance"}, tree)')
OURS = 'job=~"$job", instance=~"$instance"'
OF_TREE = f'{OURS}, tree=~"$tree"'
RATE = "[$__rate_interval]"
