"""What Grafana asks a data source for when it refreshes a dashboard: by its variables, annotations and panels.

As Grafana 12 and 13 do: times aligned to the step, which is at least the data source's interval of a second; instant
queries at the very end of the range; queries as forms, all of a refresh at once, after the variables, which come one
by one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

SCRAPE_S = 1  # the data source's "scrape interval"
_ANNOTATION_POINTS = 100  # what Grafana wants of an annotation's query
_ROUND_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600)  # what it rounds a step to
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.*), (?P<label>\w+)\)")


class Ask(NamedTuple):
    """A request: its form as a body, or, where there is none, a GET."""

    path: str
    form: str
    expr: str


class Refresh(NamedTuple):
    """The requests of a refresh: one after the other, then many at once."""

    variables: list[Ask]
    queries: list[Ask]


class Board:
    """A dashboard as its file has it, each of its variables set to "All"."""

    def __init__(self, path: Path) -> None:
        board = json.loads(path.read_text())
        variables = [one for one in board["templating"]["list"] if one["type"] == "query"]
        self._chosen = {one["name"]: one["allValue"] for one in variables}
        self._variables = [found for one in variables if (found := _LABEL_VALUES.fullmatch(one["query"]))]
        self._annotations = [one["target"]["expr"] for one in board["annotations"]["list"] if one["enable"]]
        self._targets = [target for panel in board["panels"] for target in panel.get("targets", ())]

    def refresh(self, end_s: float, range_s: int, step_s: int) -> Refresh:
        """The requests for the last `range_s` seconds before `end_s`, panels with a point each `step_s`."""
        start_s = end_s - range_s
        coarse_s = _rounded(range_s / _ANNOTATION_POINTS)
        queries = [self._range(expr, start_s, end_s, coarse_s) for expr in self._annotations]
        for target in self._targets:
            if target.get("range"):
                queries.append(self._range(target["expr"], start_s, end_s, step_s))
            if target.get("instant"):
                expr = self._filled(target["expr"], range_s, step_s)
                queries.append(_post("/api/v1/query", expr, {"time": _seconds(end_s)}))
        variables = []
        for found in self._variables:
            expr = self._filled(found["selector"], range_s, step_s)
            form = urlencode({"match[]": expr, "start": math.floor(start_s), "end": math.ceil(end_s)})
            variables.append(Ask(f"/api/v1/label/{found['label']}/values?{form}", "", found[0]))
        return Refresh(variables, queries)

    def _range(self, expr: str, start_s: float, end_s: float, step_s: int) -> Ask:
        start, end = (math.floor(t / step_s) * step_s for t in (start_s, end_s))
        form = {"start": _seconds(start), "end": _seconds(end), "step": step_s}
        return _post("/api/v1/query_range", self._filled(expr, round(end_s - start_s), step_s), form)

    def _filled(self, expr: str, range_s: int, step_s: int) -> str:
        rate_s = max(step_s + SCRAPE_S, 4 * SCRAPE_S)
        filled = {**self._chosen, "__rate_interval": f"{rate_s}s", "__interval": f"{step_s}s", "__range": f"{range_s}s"}
        return re.sub(r"\$(\w+)", lambda found: filled[found[1]], expr)


def _post(path: str, expr: str, times: Mapping[str, Any]) -> Ask:
    return Ask(path, urlencode({"query": expr, **times}), expr)


def _seconds(t: float) -> str:
    return f"{t:.3f}".rstrip("0").rstrip(".")


def _rounded(step_s: float) -> int:
    """The nearest of what Grafana rounds a step to."""
    return min(_ROUND_STEPS, key=lambda one: abs(one - step_s))
