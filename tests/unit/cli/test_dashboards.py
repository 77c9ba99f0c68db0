"""The dashboards: the committed files are up to date, every expression parses, every metric is documented."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from grafana.board import Board, Panel
from grafana.build import FOLDER, build
from grafana.panels import DASHBOARDS
from prom_probe.cli.dashboards import export
from prom_probe.promql.parser import parse
from tests.support.dashboards import LABELS, PANELS, filled_in


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_the_files_are_up_to_date(board: Board) -> None:
    """`make dashboards` writes them."""
    assert (FOLDER / f"{board.name}.json").read_text() == build(board), "run `make dashboards`"


def test_there_are_no_other_files() -> None:
    """A dashboard that was removed leaves no file."""
    assert {path.stem for path in FOLDER.iterdir()} == {board.name for board in DASHBOARDS}


@pytest.mark.parametrize(
    ("board", "row", "panel"), PANELS, ids=lambda part: part if isinstance(part, str) else getattr(part, "title", "")
)
def test_every_panel_is_described_and_its_expressions_parse(board: Board, row: str, panel: Panel) -> None:
    """A title, a description, a unit; the data source and the rate's interval are variables."""
    assert panel.title and panel.description.endswith(".") and panel.unit
    for expr, _ in panel.targets:
        parse(filled_in(expr))
        assert not re.search(r"(rate|irate)\([^)]*\[\d", expr), "rates take $__rate_interval"
        assert 'job=~"$job"' in expr and 'instance=~"$instance"' in expr


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_every_metric_is_documented_and_has_the_labels(board: Board) -> None:
    """The metrics page has what panels and variables select, with the labels that they match."""
    texts = [query for _, _, query in board.variables]
    texts += [expr for _, panels in board.rows for panel in panels for expr, _ in panel.targets]
    texts += [annotation.expr for annotation in board.annotations]
    for name, matchers in re.findall(r"\b([a-z]\w+)\{([^}]*)\}", " ".join(texts)):
        labels = LABELS[re.sub("_bucket$", "", name)]
        assert set(re.findall(r"(\w+)!?=", matchers)) <= labels | {"job", "instance"}, name


def test_limits_are_dashed_and_thresholds_are_drawn() -> None:
    """The JSON has what the table of panels says."""
    panels = {
        panel["title"]: panel for panel in json.loads(build(next(b for b in DASHBOARDS if b.name == "gpu")))["panels"]
    }
    assert panels["Power"]["fieldConfig"]["overrides"][0]["matcher"]["options"] == "/limit$/"
    assert [step["value"] for step in panels["Temperature"]["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [
        None,
        83,
        90,
    ]
    assert panels["Temperature"]["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
    assert panels["Utilisation"]["fieldConfig"]["defaults"]["max"] == 1


def test_variables_match_series_without_job_and_instance() -> None:
    """Series read from a sidecar itself lack them: All is `.*`, and the data source can be chosen."""
    for board in DASHBOARDS:
        found: Any = json.loads(build(board))["templating"]["list"]
        assert found[0]["type"] == "datasource"
        queried = [one for one in found if one["type"] == "query"]
        assert queried and all(one["allValue"] == ".*" and one["includeAll"] for one in queried)
        assert all(
            panel.get("datasource", {}).get("uid") in (None, "${datasource}")
            for panel in json.loads(build(board))["panels"]
        )


def test_export_copies_them(tmp_path: Path) -> None:
    """To a directory that it makes."""
    files = export(str(tmp_path / "a" / "b"))
    assert [Path(file).name for file in files] == sorted(f"{board.name}.json" for board in DASHBOARDS)
    assert all(json.loads(Path(file).read_text())["uid"].startswith("prom-probe-") for file in files)
