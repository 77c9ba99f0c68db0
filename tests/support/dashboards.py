"""The panels of the dashboards, the labels of the metrics, and expressions as Grafana asks for them."""

from __future__ import annotations

import re

from grafana.panels import DASHBOARDS
from prom_probe.cli.metrics_doc import OWN
from prom_probe.collectors.catalogue import DEFINITIONS

PANELS = [(board, row, panel) for board in DASHBOARDS for row, panels in board.rows for panel in panels]


LABELS = {definition.family.name: set(definition.labels) for definition in (*DEFINITIONS, *OWN)}


def filled_in(expr: str, rate_interval: str = "4s", interval: str = "10s") -> str:
    """An expression as Grafana asks for it, everything being chosen."""
    for name, value in (("rate_interval", rate_interval), ("interval", interval), ("range", "2m"), ("from", "0")):
        expr = expr.replace(f"$__{name}", value)
    return re.sub(r"\$(job|instance|tree|gpu)\b", ".*", expr)
