"""Draws the plots of README.md from results.json: docs/pictures/*.svg."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

from bench.pages import ROOT, tables

PICTURES = ROOT / "docs" / "pictures"
_OURS, _PEERS = "#0969da", ("#8c959f", "#bf8700", "#57606a")


def draw_plots(results: dict[str, Any]) -> None:
    """All plots whose benchmarks have been run. Needs matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("svg")
    # The same figures give the same bytes.
    matplotlib.rcParams.update({"svg.hashsalt": "prom_probe", "font.size": 10, "axes.spines.top": False})
    matplotlib.rcParams.update({"axes.spines.right": False, "legend.frameon": False, "svg.fonttype": "none"})
    from matplotlib import pyplot

    for name, (bench, draw) in PLOTS.items():
        found = tables(results, bench)
        if not found:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
        draw(axes, found)
        figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)


def number(text: str) -> float:
    """The first number in a cell; nan where there is none."""
    match = re.search(r"[-+]?\d[\d,]*(?:\.\d+)?", text)
    return float(match[0].replace(",", "")) if match else float("nan")


def _footprint(axes: Any, found: list[dict[str, Any]]) -> None:
    rows = [row for row in found[0]["rows"] if row[0] != "total"]
    left = [0.0, 0.0]
    for row, colour in zip(rows, ("#bf8700", "#8c959f", "#57606a", _OURS, "#80ccff"), strict=True):
        values = [number(row[2]), number(row[1])]
        axes.barh(["after range queries", "before"], values, left=left, label=row[0], color=colour)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_xlabel("MiB (PSS) of all processes, around 50 watched ones")
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _query(axes: Any, found: list[dict[str, Any]]) -> None:
    rows = found[0]["rows"]
    names = ("prom_probe, warm", "prom_probe, cold", "Prometheus", "VictoriaMetrics")
    colours = (_OURS, "#80ccff", "#bf8700", "#8c959f")
    for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
        places = [at + (i - 1.5) * 0.2 for at in range(len(rows))]
        axes.bar(places, [number(row[1 + i]) for row in rows], 0.19, label=name, color=colour)
    axes.set_yscale("log")
    axes.set_ylabel("ms, median")
    texts = [row[0].partition(":")[2].strip().replace("_", "_ ") for row in rows]
    axes.set_xticks(range(len(rows)), [textwrap.fill(text, 12).replace("_ ", "_") for text in texts], fontsize=7)
    axes.legend(ncols=4, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.18))


def _collect(axes: Any, found: list[dict[str, Any]]) -> None:
    rows = [row for row in found[0]["rows"] if row[0].endswith("awake") or row[0] == "system"]
    places = range(len(rows))
    axes.barh([at + 0.2 for at in places], [number(row[3]) for row in rows], 0.38, label="psutil", color=_PEERS[0])
    axes.barh([at - 0.2 for at in places], [number(row[1]) for row in rows], 0.38, label="prom_probe", color=_OURS)
    axes.set_xscale("log")
    axes.set_xlabel("µs a collection, median")
    axes.set_yticks(places, [row[0].replace(", awake", ", busy") for row in rows])
    axes.legend()


def _store(axes: Any, found: list[dict[str, Any]]) -> None:
    table = found[1]
    rows = [[number(cell) for cell in row] for row in table["rows"]]
    last = len(table["head"]) - 1
    axes.plot([row[0] for row in rows], [row[last] for row in rows], "s-", color=_PEERS[1], label="tinyflux")
    axes.plot([row[0] for row in rows], [row[2] for row in rows], "o-", color=_OURS, label="prom_probe, cache cold")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("samples stored")
    axes.set_ylabel("ms for one series' hour")
    axes.legend()


PLOTS: dict[str, tuple[str, Callable[[Any, list[dict[str, Any]]], None]]] = {
    "footprint": ("footprint", _footprint),
    "query": ("query", _query),
    "collect": ("collect", _collect),
    "store": ("store", _store),
}
