"""The panels of the dashboards, the labels of the metrics, and expressions as Grafana asks for them."""

from __future__ import annotations

import re

from grafana.panels import DASHBOARDS
from prom_probe.cli.metrics_doc import OWN
from prom_probe.collectors.catalogue import DEFINITIONS

PANELS = [(board, row, panel) for board in DASHBOARDS for row, panels in board.rows for panel in panels]


LABELS = {definition.family.name: set(definition.labels) for definition in (*DEFINITIONS, *OWN)}


def filled_in(expr: str, rate_interval: str = "4s") -> str:
    """An expression as Grafana asks for it, everything being chosen."""
    return re.sub(r"\$__rate_interval", rate_interval, re.sub(r"\$(job|instance|tree|gpu)\b", ".*", expr))
