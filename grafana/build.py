"""The dashboards as code: python -m grafana.build writes grafana/dashboards/*.json (needs grafana-foundation-sdk)."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphGradientMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.board import Annotation, Board, Panel
from grafana.links import PAGE, Link
from grafana.panels import DASHBOARDS

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


class Size(NamedTuple):
    """Grid units: 24 across."""

    width: int
    height: int


# A table shows labels; what is the same in every row, and the constant 1, are none of its columns.
UNSHOWN = {"Time": True, "Value": True, "__name__": True, "job": True}
# In pixels; a command line takes the rest.
LABEL_WIDTHS = {"comm": 120, "pid": 70, "tree": 100}
VALUE_WIDTH = 145
# What is drawn over a graph and is no part of its sum.
DASHED = [
    DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
    DynamicConfigValue("custom.fillOpacity", 0),
    DynamicConfigValue("custom.stacking", {"mode": "none", "group": "A"}),
]
LIMIT = [
    *DASHED,
    DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "semi-dark-red"}),
    DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
]
SIZES = {
    "stat": Size(4, 4),
    "quarter": Size(6, 9),
    "graph": Size(8, 9),
    "wide": Size(12, 10),
    "table": Size(24, 9),
}
GRAPHS = ("quarter", "graph", "wide")


def build(board: Board) -> str:
    """A dashboard's JSON."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"prom-probe-{board.name}")
        .description(board.description)
        .tags(["prom-probe"])
        .refresh(board.refresh)
        .time(board.since, "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for name, label, query in board.variables:
        made = made.with_variable(
            dashboard.QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query(query)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    if board.links:
        name, label, value = PAGE
        made = made.with_variable(dashboard.TextBoxVariable(name).label(label).default_value(value))
    numbers = itertools.count(1)  # without an id a panel has no address of its own
    for row, panels in board.rows:
        made = made.with_row(dashboard.Row(row).id(next(numbers)))
        for panel in panels:
            made = made.with_panel(_panel(panel, board.links).id(next(numbers)))
    model = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(made.build()))
    model["annotations"] = {"list": [_annotation(annotation) for annotation in board.annotations]}
    return json.dumps(model, indent=2, sort_keys=True) + "\n"


def _annotation(annotation: Annotation) -> dict[str, Any]:
    """What Grafana's Prometheus data source reads; the SDK has no fields for it."""
    return {
        "name": annotation.name,
        "datasource": {"type": SOURCE.type_val, "uid": SOURCE.uid},
        "enable": annotation.shown,
        "hide": False,
        "iconColor": annotation.colour,
        "target": {"expr": annotation.expr, "refId": "Anno", "interval": ""},
        "titleFormat": annotation.name,
        "textFormat": annotation.text,
        "tagKeys": "instance",
        "useValueForTime": annotation.at_value,
    }


def _panel(panel: Panel, links: Sequence[Link]) -> Any:
    kinds: dict[str, Any] = {"stat": stat.Panel, "table": table.Panel, **dict.fromkeys(GRAPHS, timeseries.Panel)}
    size = SIZES[panel.kind]
    made = (
        kinds[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(size.width)
        .height(size.height)
    )
    if panel.thresholds:
        made = made.thresholds(_thresholds("green", panel.thresholds))
    elif panel.kind == "stat":
        made = made.thresholds(_thresholds("blue"))  # Grafana's own are green, and red from 80 on
    if panel.empty:
        made = made.no_value(panel.empty)
    if panel.kind in GRAPHS:
        made = _graph(made, panel)
        if links and of_tree(panel):
            made = made.data_links(
                [dashboard.DashboardLink(link.title).url(link.url).target_blank(link.new_tab) for link in links]
            )
    elif panel.kind == "stat":
        made = made.graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
        made = made.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    elif panel.kind == "table":
        made = _table(made, panel)
    for number, (expr, legend_text) in enumerate(panel.targets):
        query = (
            prometheus.Dataquery()
            .expr(expr)
            .legend_format(legend_text)
            .ref_id(chr(ord("A") + number))
            .datasource(SOURCE)
        )
        if panel.kind == "table":
            query = query.instant().format(PromQueryFormat.TABLE)
        # The newest value of a range may be long over: what is shown as now is asked for as of now.
        made = made.with_target(query.instant() if panel.kind in ("stat", "table") else query.range())
    return made


def of_tree(panel: Panel) -> bool:
    """Whether each series of the panel is of one tree, or of a process of one."""
    return all(re.search(r"\{\{(tree|pid)\}\}", legend) for _, legend in panel.targets)


def _table(made: Any, panel: Panel) -> Any:
    """A row for each set of labels; what several targets say of it is merged, the first's largest value on top."""
    if not panel.columns:
        return made.with_transformation(DataTransformerConfig("organize", options={"excludeByName": UNSHOWN}))
    values = [f"Value #{chr(ord('A') + number)}" for number in range(len(panel.columns))]
    titles = dict(zip(values, (column.title for column in panel.columns), strict=True))
    organize = {
        "excludeByName": {**UNSHOWN, **{value: True for value in values if not titles[value]}},
        "renameByName": titles,
        "indexByName": {name: number for number, name in enumerate(["comm", "pid", "tree", "instance", *values])},
    }
    order = {"fields": {}, "sort": [{"field": panel.columns[0].title, "desc": True}]}
    for transformation, options in (("merge", {}), ("organize", organize), ("sortBy", order)):
        made = made.with_transformation(DataTransformerConfig(transformation, options=options))
    for name, width in LABEL_WIDTHS.items():
        as_text = [DynamicConfigValue("unit", "string"), DynamicConfigValue("custom.width", width)]
        made = made.override_by_name(name, as_text)
    for column in filter(lambda column: column.title, panel.columns):
        shown = {"unit": column.unit, "noValue": column.empty, "custom.width": VALUE_WIDTH}
        made = made.override_by_name(column.title, [DynamicConfigValue(id_, value) for id_, value in shown.items()])
    return made


def _graph(made: Any, panel: Panel) -> Any:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    tooltip = VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    legend = legend.show_legend(True).calcs(["max", "lastNotNull"]).sort_by("Max").sort_desc(True)
    made = made.min(0).legend(legend).tooltip(tooltip)
    made = made.fill_opacity(20).gradient_mode(GraphGradientMode.OPACITY)
    made = made.override_by_regexp("/limit$/", LIMIT).override_by_regexp("/highest of the window$/", DASHED)
    if panel.unit == "short":
        made = made.axis_soft_max(1)  # of what never happened too the axis counts ones
    if panel.top is not None:
        made = made.max(panel.top)
    if panel.stack:
        made = made.stacking(StackingConfig().mode(StackingMode.NORMAL))
    if panel.thresholds:
        made = made.thresholds_style(GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    return made


def _thresholds(base: str, steps: Sequence[tuple[float, str]] = ()) -> Any:
    """A colour, then another from each value on."""
    made = [Threshold(value=None, color=base), *(Threshold(value=value, color=color) for value, color in steps)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for board in DASHBOARDS:
        (FOLDER / f"{board.name}.json").write_text(build(board))


if __name__ == "__main__":
    main()
