"""What the benchmarks printed, as data; and the pages that show it: docs/benchmarks.md and a section of README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import Row, format_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- written by python -m bench -->\n", "<!-- until here -->\n"

_TITLES = {
    "footprint": "Memory and CPU of the sidecar, around 50 processes",
    "footprint, an hour": "The same with an hour of 600 more series",
    "guest": "What a wrapped program notices",
    "collect": "One collection, beside psutil",
    "system calls": "System calls of a collection",
    "exporters": "A scrape, beside node_exporter and process-exporter",
    "cadence": "How evenly samples come",
    "transport": "The ring, beside a Unix datagram socket",
    "store": "The store: bytes, ingest, one series' hour, beside tinyflux",
    "day": "A day in fast motion, with an hour of a fork storm",
    "query": "Queries, beside Prometheus and VictoriaMetrics",
    "dashboards": "Refreshes of a dashboard, beside Prometheus",
    "beside": "Scrapes beside a looping heavy query",
    "remote_write": "Remote writes",
    "remote": "Sending by remote write, beside vmagent and a Prometheus agent",
    "fleet": "A fleet of senders",
    "serve": "Serving /metrics, beside other servers",
    "scrape": "Reading an application's page, beside the library that parses it",
    "gpu": "GPUs, by a driver that is played",
    "page": "The page, in chromium",
}


def parse_output(text: str) -> list[Any]:
    """A benchmark's output in its order: a table is {"head", "rows"}, lines between tables are a string."""
    parts: list[Any] = []
    table: dict[str, Any] | None = None
    for line in text.splitlines():
        if not line.startswith("| "):
            table = None
            if parts and isinstance(parts[-1], str):
                parts[-1] += f"\n{line}"
            elif line.strip():
                parts.append(line)
            continue
        cells = [cell.strip() for cell in line.removeprefix("| ").removesuffix(" |").split(" | ")]
        if table is None:
            table = {"head": cells, "rows": []}
            parts.append(table)
        elif not all(re.fullmatch("-*", cell) for cell in cells):
            table["rows"].append(cells)
    return [part.strip("\n") if isinstance(part, str) else part for part in parts]


def tables(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables of a benchmark; none if it has not been run."""
    return [part for part in results["benches"].get(name, {}).get("parts", ()) if isinstance(part, dict)]


def cell(results: dict[str, Any], name: str, row: str, column: str, table: int = 0) -> str:
    """A cell by the beginnings of its row's and its column's name; KeyError where there is none."""
    found = tables(results, name)
    if table >= len(found):
        raise KeyError(name)
    at = next((i for i, head in enumerate(found[table]["head"]) if head.startswith(column)), None)
    for cells in found[table]["rows"]:
        if at is not None and cells[0].startswith(row):
            return str(cells[at])
    raise KeyError(f"{name}: {row}, {column}")


def page_text(results: dict[str, Any]) -> str:
    """docs/benchmarks.md."""
    lines = [
        "# What it costs",
        "",
        "What prom_probe takes, and how fast it is, beside peers in the same run. Each table was printed by the",
        "command above it; a budget stands below. Absolute figures differ from machine to machine: look at the ratios.",
        "This runs all benchmarks and writes this page:",
        "",
        "```sh",
        "python -m bench",
        "```",
        "",
        "Measured with " + "; ".join(f"{k} {v}" for k, v in results["machine"].items() if k != "CPU") + ".",
    ]
    for name, bench in results["benches"].items():
        lines += ["", f"## {_TITLES[name]}", "", "```sh", bench["command"], "```"]
        for part in bench["parts"]:
            text = (
                part if isinstance(part, str) else format_table(tuple(part["head"]), [tuple(r) for r in part["rows"]])
            )
            lines += ["", *(["```text", text, "```"] if isinstance(part, str) else [text])]
        lines += ["", f"{bench['date']}, commit {bench['commit']}, {bench['seconds']} s, {bench['cpu']}."]
    return "\n".join(lines) + "\n"


def readme_text(results: dict[str, Any]) -> str:
    """The section of README.md between its marks."""
    rows = list(_headlines(results))
    lines = [
        format_table(("What", "Measured", "Beside it, in the same run"), rows),
        "",
        f"{_machines(results)}, Python {results['machine']['Python']}.",
        "`docs/benchmarks.md` has all tables and how they were measured; `make bench` measures them anew.",
        "",
        "![Memory of each process](docs/pictures/footprint.svg)",
        "![Time of queries beside Prometheus and VictoriaMetrics](docs/pictures/query.svg)",
        "![Time of a collection beside psutil](docs/pictures/collect.svg)",
        "![Time of a series' hour beside tinyflux](docs/pictures/store.svg)",
    ]
    return "\n".join(lines) + "\n"


def _machines(results: dict[str, Any]) -> str:
    """On what the headlines were measured."""
    by_cpu: dict[str, list[str]] = {}
    for name in ("footprint", "exporters", "collect", "guest", "store", "query", "dashboards"):
        by_cpu.setdefault(results["benches"][name]["cpu"], []).append(name)
    if len(by_cpu) == 1:
        return f"On {next(iter(by_cpu))}"
    return "On " + "; on ".join(f"{cpu}: {', '.join(names)}" for cpu, names in by_cpu.items())


def _headlines(results: dict[str, Any]) -> Iterator[Row]:
    def of(name: str, row: str, column: str, table: int = 0) -> str:
        return cell(results, name, row, column, table)

    yield (
        "Memory (PSS) of all processes, around 50",
        f"{of('footprint', 'total', 'PSS')} MiB, {of('footprint', 'total', 'after')} after range queries",
        f"node_exporter {of('exporters', 'node_exporter', 'PSS')}, "
        f"process-exporter {of('exporters', 'process-exporter', 'PSS')} MiB",
    )
    yield "CPU at one sample a second", f"{of('footprint', 'total', 'CPU')} of a core", ""
    yield (
        "CPU in 15 s with one scrape",
        f"{of('exporters', 'prom_probe', 'CPU ms in')} ms",
        f"node_exporter {of('exporters', 'node_exporter', 'CPU ms in')}, "
        f"process-exporter {of('exporters', 'process-exporter', 'CPU ms in')} ms",
    )
    yield (
        "A scrape, CPU",
        f"{of('exporters', 'prom_probe', 'CPU ms a')} ms",
        f"node_exporter {of('exporters', 'node_exporter', 'CPU ms a')}, "
        f"process-exporter {of('exporters', 'process-exporter', 'CPU ms a')} ms",
    )
    yield (
        "A collection of 50 busy processes",
        f"{of('collect', 'tree of 50, awake', 'ours')} µs",
        f"psutil {of('collect', 'tree of 50, awake', 'psutil median')} µs",
    )
    for program, row in (("computes", "CPU"), ("only forks", "fork"), ("only writes and reads", "4 KiB")):
        yield f"Time of a program that {program}, wrapped", of("guest", row, "Wrapped: wall"), "the same program alone"
    yield "Bytes a sample, mixed data, bit-exact", of("store", "bytes a sample, mixed", "measured"), ""
    yield "Bytes a sample, our own probes", of("store", "bytes a sample, our own", "measured"), ""
    for span in ("15 min", "60 min", "360 min"):
        ours, theirs = (of("dashboards", span, column).partition("/")[0] for column in ("ours, ms", "Prometheus"))
        yield f"A dashboard's 34 queries, {span}", f"{ours} ms", f"Prometheus {theirs} ms"
    for letter in ("b", "d", "e"):
        ours, _, theirs, victoria = (
            of("query", f"{letter}:", column).partition("/")[0]
            for column in ("warm", "cold", "Prometheus", "VictoriaMetrics")
        )
        name = next(cells[0] for cells in tables(results, "query")[0]["rows"] if cells[0].startswith(f"{letter}:"))
        yield f"Query: {name[3:]}", f"{ours} ms", f"Prometheus {theirs}, VictoriaMetrics {victoria} ms"


def with_section(readme: str, text: str) -> str:
    """README.md with another section between its marks. ValueError where they are not there."""
    begin, end = readme.index(BEGIN) + len(BEGIN), readme.index(END)
    return readme[:begin] + text + readme[end:]


def write_pages(results: dict[str, Any]) -> None:
    """docs/benchmarks.md, and the section of README.md."""
    PAGE.write_text(page_text(results))
    try:
        README.write_text(with_section(README.read_text(), readme_text(results)))
    except KeyError as error:
        print(f"README.md is left as it is: {error} is not known")
