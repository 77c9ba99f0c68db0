"""What a dashboard is made of, and what the expressions of several have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from grafana.links import Link


class Column(NamedTuple):
    """Of a table; without a title it is not shown, and the target is there for its labels. `empty`: of no value."""

    title: str
    unit: str = "short"
    empty: str = ""


class Panel(NamedTuple):
    """`kind`: stat, quarter, graph, wide (these three are graphs) or table. `targets`: (PromQL, legend).

    `thresholds`: (from, colour). What is named "… limit" is a dashed line, not in the legend; "… highest of the window"
    is dashed and unfilled. `top`: the axis ends there. `empty`: what stands in place of "No data" where that is usual.
    `stack`: the series are parts of a whole. `columns`: those of the targets' values, in a table of several.
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
    columns: Sequence[Column] = ()


class Annotation(NamedTuple):
    """`at_value`: the value is the time, in milliseconds. `shown`: from the beginning; else by its switch."""

    name: str
    colour: str
    expr: str
    text: str
    at_value: bool = False
    shown: bool = True


class Board(NamedTuple):
    """`variables`: (name, label, query); `rows`: (title, panels); `links`: of each point that belongs to a tree."""

    name: str
    title: str
    description: str
    variables: Sequence[tuple[str, str, str]]
    rows: Sequence[tuple[str, Sequence[Panel]]]
    refresh: str = "5s"
    since: str = "now-15m"
    annotations: Sequence[Annotation] = ()
    links: Sequence[Link] = ()


# Straight to a sidecar the series have no job and no instance: "All" is `.*`, which takes that too.
JOB = ("job", "Job", "label_values(prom_probe_build_info, job)")
INSTANCE = ("instance", "Instance", 'label_values(prom_probe_build_info{job=~"$job"}, instance)')
TREE = ("tree", "Tree", 'label_values(proctree_processes{job=~"$job", instance=~"$instance"}, tree)')
OURS = 'job=~"$job", instance=~"$instance"'
OF_TREE = f'{OURS}, tree=~"$tree"'
RATE = "[$__rate_interval]"
RANGE = "[$__range]"
