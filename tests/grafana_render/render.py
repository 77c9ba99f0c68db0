"""Draws dashboards from a Prometheus API, and tells what is to be seen: `render.mjs` from Python."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.support.fetched import node_modules
from tests.support.programs import program

HERE = Path(__file__).parent


class Shot(msgspec.Struct):
    """One drawing of a dashboard. `panels`: the titles of some, None for all; `api`: another than that of all."""

    file: str
    api: str | None = None
    picture: str | None = None  # where to write a PNG
    width: int = 1500
    height: int = 3600
    scale: float = 1.0
    panels: Sequence[str] | None = None


class Drawn(msgspec.Struct):
    """A panel. `state`: Done or Error; `empty`: what stands in place of a plot; `coloured`: pixels of its plots.

    `links`: title and address of what a click on the newest point of a graph's first series offers.
    """

    title: str
    kind: str
    state: str
    series: int
    error: str
    text: str
    empty: str | None
    plots: int
    rows: int
    coloured: int
    links: list[tuple[str, str]]


class Mark(msgspec.Struct):
    """An annotation: `time` in milliseconds."""

    name: str
    time: float
    text: str


class Page(msgspec.Struct):
    """What was seen of one shot: `complaints` of the console and of requests, `variables` with their values."""

    file: str
    panels: list[Drawn]
    complaints: list[str]
    text: str
    variables: dict[str, list[Any]]
    annotations: list[Mark]


def modules() -> None:
    """What npm gives for package-lock.json, whose makers left peers out."""
    node_modules(HERE, "--legacy-peer-deps")


def render(
    api: str, shots: Sequence[Shot], *, interval: str = "1s", theme: str = "light", since: str = "now-2m"
) -> list[Page]:
    """Each shot, from the query API at `api` or its own, whose series have a sample every `interval`."""
    chromium = program("chromium")
    modules()
    asked = {
        "chromium": chromium,
        "name": "prom_probe",
        "api": api,
        "interval": interval,
        "theme": theme,
        "range": {"from": since, "to": "now"},
        "boards": [{k: v for k, v in msgspec.to_builtins(shot).items() if v is not None} for shot in shots],
    }
    done = subprocess.run(
        [program("node"), str(HERE / "render.mjs"), json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=list[Page])
