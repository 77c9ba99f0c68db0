"""Dashboards have data and can be drawn, straight from a sidecar and through a real Prometheus."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from grafana.annotations import ENDS
from grafana.board import Board, Panel
from grafana.build import FOLDER, build, of_tree
from grafana.panels import DASHBOARDS
from prom_probe.model.labels import make_labels
from tests.grafana_render.render import Drawn, Page, Shot, render
from tests.support.dashboards import LABELS, PANELS, filled_in
from tests.support.peers import encode_write
from tests.support.prometheus import REMOTE_WRITE, scraping
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

# What there is of trouble and of limits alone, and so not of a healthy sidecar: the labels, and two values.
TREE = {"tree": "written"}
TROUBLE: dict[str, tuple[dict[str, str], tuple[float, float]]] = {
    "cgroup_memory_working_set_bytes": (TREE, (1, 2)),
    "cgroup_memory_limit_effective_bytes": (TREE, (4, 4)),
    "cgroup_memory_peak_bytes": (TREE, (2, 2)),
    "cgroup_cpu_limit_cpus": (TREE, (2, 2)),
    "cgroup_cpu_throttled_seconds_total": (TREE, (0, 1)),
    "cgroup_cpu_throttled_periods_total": (TREE, (0, 6)),
    "cgroup_cpu_periods_total": (TREE, (0, 10)),
    "cgroup_pids": (TREE, (3, 3)),
    "cgroup_pids_limit": (TREE, (9, 9)),
    "cgroup_oom_kills_total": (TREE, (0, 1)),
    "proctree_resident_memory_max_bytes": (TREE, (3, 3)),
    "proctree_anonymous_memory_max_bytes": (TREE, (3, 3)),
    "proctree_cpus_used_max": (TREE, (1, 1)),
    "prom_probe_collector_overruns_total": ({"collector": "written"}, (0, 1)),
    "prom_probe_worker_restarts_total": ({"worker": "written"}, (0, 1)),
    "prom_probe_tsdb_rejected_samples_total": ({"reason": "duplicate"}, (0, 1)),
    "gpu_errors_total": ({"call": "nvmlDeviceGetName", "code": "GPU_IS_LOST"}, (0, 1)),
    "gpu_xid_errors_total": ({"uuid": "GPU-demo-0", "xid": "79"}, (0, 1)),
}


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Sidecar, str]]:
    """A sidecar around the demo workload, with the GPUs of the demonstration, and a real Prometheus that scrapes it."""
    flags = ["--gpu=demo", "--expose.per-process", REMOTE_WRITE]
    with (
        Sidecar("--", sys.executable, "-m", "prom_probe.demo", flags=flags) as sidecar,
        scraping(sidecar.web.removeprefix("http://")) as peer,
    ):
        url, ask = peer.url, "count_over_time(proctree_processes[1m])"
        wait_for("samples of some seconds", lambda: _value(url, ask) >= 6 and _value(sidecar.api, ask) >= 6)
        sidecar.query("1")  # so that there are requests and queries to count
        wait_for("counted", lambda: _value(sidecar.api, "sum(prom_probe_query_duration_seconds_count)") > 1)
        yield sidecar, url


def _ask(url: str, expr: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(
        f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}", timeout=DEADLINE_S
    ) as answer:
        result: list[dict[str, object]] = json.load(answer)["data"]["result"]
        return result


def _value(url: str, expr: str) -> float:
    """The only value, 0 where there is none yet."""
    for one in _ask(url, expr):
        value = one["value"]
        assert isinstance(value, list)
        return float(value[1])
    return 0.0


def _write_trouble(url: str, labels: dict[str, str]) -> None:
    """Two samples of each metric, by remote write, with what a target adds to its labels."""
    now_ms = round(time.time() * 1000)
    for name, (own, values) in TROUBLE.items():
        assert set(own) == LABELS[name], name
        body = encode_write([(make_labels(name, {**own, **labels}), [now_ms - 10_000, now_ms], list(values))])
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/api/v1/write", body, headers), timeout=DEADLINE_S
        ) as answer:
            assert answer.status == 204


@pytest.mark.parametrize("way", ["straight", "through Prometheus"])
def test_every_expression_has_data(watched: tuple[Sidecar, str], way: str) -> None:
    """Of a demo with GPUs, and of trouble and limits that are written to it; legends name labels that are there.

    What a healthy sidecar has no data of must not look broken: such a panel says what its emptiness means.
    """
    sidecar, prometheus = watched
    url, added = sidecar.api, {}
    if way != "straight":
        url, added = prometheus, {"job": "sidecar", "instance": sidecar.web.removeprefix("http://")}
    troubled = tuple(f"{name}{{" for name in TROUBLE)

    def empty(trouble: bool) -> set[str]:
        return {
            f"{board.name}: {panel.title}: {expr}"
            for board, _, panel in PANELS
            for expr, _ in panel.targets
            if any(name in expr for name in troubled) == trouble
            and not _ask(url, filled_in(expr, "1m" if trouble else "4s"))
        }

    wait_for("data for every expression", lambda: not empty(False))
    for board, _, panel in PANELS:
        assert panel.empty or any(_ask(url, filled_in(expr, "1m")) for expr, _ in panel.targets), (board.name, panel)
    _write_trouble(url, added)
    annotations = {annotation for board in DASHBOARDS for annotation in board.annotations} - {ENDS}  # none may end here
    assert {one.name for one in annotations if not _ask(url, filled_in(one.expr))} == set()
    assert not empty(True)
    check_memory_of_limit(url)
    for _, _, panel in PANELS:
        for expr, legend in panel.targets:
            for series in _ask(url, filled_in(expr, "1m")):
                metric = series["metric"]
                assert isinstance(metric, dict)
                assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= {*metric, *({"instance"} - {*added})}, (
                    expr,
                    metric,
                )


def test_ends_of_processes_have_their_time(watched: tuple[Sidecar, str]) -> None:
    """Within the second of the process's last sample."""
    sidecar, _ = watched
    expr = f"max_over_time(({filled_in(ENDS.expr, interval='1s')})[30s:1s])"
    ended = wait_for("ends", lambda: _ask(sidecar.api, expr))
    with urllib.request.urlopen(f"{sidecar.api}/api/v1/processes", timeout=DEADLINE_S) as answer:
        last = {process["pid"]: process["last"] for process in json.load(answer)["data"]}
    for one in ended:
        assert float(one["value"][1]) / 1000 == pytest.approx(last[int(one["metric"]["pid"])], abs=1.1)


def check_memory_of_limit(url: str) -> None:
    """As the alert has it, at most the kernel's own peak: 2 of the limit of 4, though 3 were added up."""
    expr = next(panel for _, _, panel in PANELS if panel.title == "Highest memory of the limit").targets[0][0]
    values = {one["metric"]["tree"]: one["value"][1] for one in _ask(url, filled_in(expr))}  # type: ignore[index]
    assert values["written"] == "0.5"


WRONG = (
    Panel("graph", "Refused", "short", (("sum(", ""),), ""),
    Panel("graph", "Nothing", "short", (("no_such_metric", ""),), ""),
    Panel("stat", "Something", "short", (("sum(proctree_processes)", ""),), ""),
)


def test_every_panel_is_drawn(watched: tuple[Sidecar, str], tmp_path: Path) -> None:
    """By Grafana's own packages in chromium: no complaint, no "No data", a plot, a number or rows in each panel.

    Every dashboard straight from the sidecar, the fleet's through Prometheus, and one that shows that the drawing tells
    what is wrong: a query that is refused, and one without an answer.
    """
    sidecar, prometheus = watched
    files = {board.name: str(FOLDER / f"{board.name}.json") for board in DASHBOARDS}
    (fleet,) = (board for board in DASHBOARDS if board.name == "fleet")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(build(Board("wrong", "Wrong", "", (), (("Row", list(WRONG)),))))
    shots = [*map(Shot, files.values()), Shot(files[fleet.name], api=prometheus), Shot(str(wrong))]
    *pages, through, faulty = render(sidecar.api, shots)
    for board, page in zip(DASHBOARDS, pages, strict=True):
        check_page(board, page, [])
    check_page(fleet, through, ["sidecar"])
    refused, nothing, something = faulty.panels
    assert (refused.state, "1:5: parse error" in refused.error) == ("Error", True), refused
    assert (nothing.state, nothing.empty) == ("Done", "No data")
    assert looks_right(WRONG[2], something)
    assert not looks_right(WRONG[0], refused) and not looks_right(WRONG[1], nothing)


def check_page(board: Board, page: Page, jobs: list[str]) -> None:
    """Every panel of a drawn dashboard shows something, or says what its emptiness means."""
    assert page.complaints == [], board.name
    assert "No data" not in page.text and "unexpected error" not in page.text
    assert page.variables.get("gpu", ["GPU-demo-0", "GPU-demo-1"]) == ["GPU-demo-0", "GPU-demo-1"]
    assert page.variables["job"] == jobs
    starts = {mark.text for mark in page.annotations if mark.name == "Process starts"}
    assert board.name != "process-tree" or (starts and all(re.fullmatch(r".+ \d+ started", text) for text in starts))
    panels = [panel for _, panels in board.rows for panel in panels]
    for panel, drawn in zip(panels, page.panels, strict=True):
        assert (drawn.title, drawn.state, drawn.error) == (panel.title, "Done", ""), drawn
        if drawn.empty is None:
            assert looks_right(panel, drawn), drawn
            check_links(board, panel, drawn)
        else:
            assert panel.empty and panel.empty == drawn.empty, drawn
            assert all(any(f"{name}{{" in expr for name in TROUBLE) for expr, _ in panel.targets), drawn


def check_links(board: Board, panel: Panel, drawn: Drawn) -> None:
    """The sidecar's page gets tree, range and moment as its address has them; the tree's dashboard gets both labels."""
    if panel.kind in ("stat", "table") or not of_tree(panel):
        assert drawn.links == []
        return
    assert [title for title, _ in drawn.links] == [link.title for link in board.links]
    for _, address in drawn.links:
        where, _, hash_ = address.partition("#")
        if hash_:
            assert where == "http://localhost:19991/"
            shown = dict(urllib.parse.parse_qsl(hash_, strict_parsing=True))
            assert shown["tree"] and int(shown["from"]) < int(shown["at"]) <= int(shown["to"])
        else:
            asked = dict(urllib.parse.parse_qsl(where.partition("?")[2], keep_blank_values=True))
            assert asked["var-tree"] and asked["var-page"] == "http://localhost:19991"
            assert {"var-instance", "var-job", "var-datasource", "from", "to"} <= set(asked)


def looks_right(panel: Panel, drawn: Drawn) -> bool:
    """A graph has lines or dots in colours and a legend with rows, a table rows, a stat a number."""
    if panel.kind == "stat":
        return bool(re.search(r"\d", drawn.text.removeprefix(panel.title)))
    if panel.kind == "table":
        return drawn.rows >= 2
    return drawn.plots == 1 and drawn.coloured > 10 and 1 < drawn.rows <= 1 + drawn.series
