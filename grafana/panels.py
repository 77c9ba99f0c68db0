"""The dashboards. Each has a module of its own: every panel is a row of title, expressions, unit and description."""

from __future__ import annotations

from collections.abc import Sequence

from grafana.board import Board
from grafana.fleet import FLEET
from grafana.gpu import GPU
from grafana.itself import OURSELVES
from grafana.process_tree import PROCESS_TREE

DASHBOARDS: Sequence[Board] = (PROCESS_TREE, FLEET, GPU, OURSELVES)
