"""The table at `/status`, and at `/` of the web listeners: watched trees, our workers, links; HTML without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prom_probe.model.labels import METRIC_NAME, Labels, label_value
from prom_probe.model.sample import is_stale
from prom_probe.model.series import Newest
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Request, Response

# The page may load nothing, use its own style only, and not be framed.
_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)

_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --dim: #57606a; --bad: #b42318 }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --dim: #9198a1; --bad: #ff7b72 } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } p { margin: .25rem 0 }
table { border-collapse: collapse; width: 100% } caption { display: none }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .75rem .3rem 0; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } th { font-weight: 600 }
.dim { color: var(--dim) } .bad { color: var(--bad); font-weight: 600 } code { font-size: .95em }
"""

# The columns for each watched tree: heading, metric, unit.
_TREE_COLUMNS = (
    ("Processes", "proctree_processes", "count"),
    ("Threads", "proctree_threads", "count"),
    ("CPU seconds", "proctree_cpu_seconds_total", "seconds"),
    ("Resident memory", "proctree_resident_memory_bytes", "bytes"),
    ("Open files", "proctree_open_fds", "count"),
)
_WORKER_COLUMNS = (
    ("Restarts", "prom_probe_worker_restarts_total", "count"),
    ("CPU seconds", "prom_probe_worker_cpu_seconds_total", "seconds"),
    ("Resident memory", "prom_probe_worker_resident_memory_bytes", "bytes"),
)
_TARGET_COLUMNS = (
    ("Samples", "scrape_samples_scraped", "count"),
    ("Time of the scrape", "scrape_duration_seconds", "milliseconds"),
)
_RING_COLUMNS = (
    ("Frames", "prom_probe_ring_frames_total", "count"),
    ("Dropped", "prom_probe_ring_dropped_frames_total", "count"),
    ("Corrupt", "prom_probe_ring_corrupt_frames_total", "count"),
    ("Used", "prom_probe_ring_used_bytes", "bytes"),
)

_LINKS = (
    ("/metrics", "the newest values, for a scraping Prometheus"),
    ("/-/healthy", "200 while the server answers"),
    ("/-/ready", "200 once the first samples are stored"),
)
_API_LINKS = (
    ("/api/v1/query?query=proctree_processes", "PromQL at one time"),
    (
        "/api/v1/query_range",
        "PromQL over a range: <code>query</code>, <code>start</code>, <code>end</code>, <code>step</code>",
    ),
    ("/api/v1/labels", "label names"),
    ("/api/v1/label/__name__/values", "metric names"),
    ("/api/v1/metadata", "type, help and unit of each metric"),
    ("/api/v1/targets", "our collectors"),
    ("/api/v1/status/buildinfo", "version"),
    ("/api/v1/status/runtimeinfo", "about the process"),
    ("/api/v1/status/tsdb", "about the store"),
    ("/federate?match[]={__name__=~&quot;proctree_.*&quot;}", "selected series, for another Prometheus"),
)


def landing(context: AppContext, request: Request) -> Response:
    """For web listeners: the page is at another address. API links are relative: the wrong port gives a 404."""
    return _landing(context, context.about.page_url, "on this machine")


def beside_the_page(context: AppContext, request: Request) -> Response:
    """For API listeners, which have the page at `/`."""
    return _landing(context, "/", "")


def _landing(context: AppContext, page_url: str, where: str) -> Response:
    """`page_url`: where the page is, "" for nowhere; `where`: who reaches it there."""
    values = _newest_values(context.store.newest())
    stats = context.store.stats()
    version = escape(context.about.build_info.get("version", ""))
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>prom_probe</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{_STYLE}</style></head><body><h1>prom_probe <span class="dim">{version}</span></h1>'
        f'<p class="dim">{stats.series:,} series, {stats.samples:,} samples in {_format(stats.bytes, "bytes")}</p>',
        f'<p><a href="{escape(page_url)}">Graphs and processes, second by second</a> {where}</p>' if page_url else "",
        _table("Watched trees", "tree", _TREE_COLUMNS, values) or "<p>No process tree is watched.</p>",
        _table("Scraped targets", "job", _TARGET_COLUMNS, values, up="up"),
        _table("Workers", "worker", _WORKER_COLUMNS, values, up="prom_probe_worker_up"),
        _table("Rings", "ring", _RING_COLUMNS, values),
        _links("Endpoints", _LINKS),
        _links("Query API, on the API listener", _API_LINKS),
        "</body></html>\n",
    ]
    return Response(200, "".join(parts).encode(), "text/html; charset=utf-8", _HEADERS)


def _newest_values(rows: Iterable[Newest]) -> dict[str, list[tuple[Labels, float]]]:
    """The newest (labels, value) pairs of the metrics on the page, by metric name."""
    columns = (*_TREE_COLUMNS, *_TARGET_COLUMNS, *_WORKER_COLUMNS, *_RING_COLUMNS)
    shown = {metric for _, metric, _ in columns} | {"prom_probe_worker_up", "up"}
    values: dict[str, list[tuple[Labels, float]]] = {}
    for row in rows:
        for column, value in zip(row.columns, memoryview(row.payload).cast("d"), strict=False):
            if column.family.name in shown and not is_stale(value):
                values.setdefault(label_value(column.labels, METRIC_NAME), []).append((column.labels, value))
    return values


def _table(
    title: str,
    label: str,
    columns: Sequence[tuple[str, str, str]],
    values: dict[str, list[tuple[Labels, float]]],
    up: str = "",
) -> str:
    """A table with a row for each value of `label`; several series with the same value are summed."""
    cells: dict[str, dict[str, float]] = {}
    for metric in [up] * bool(up) + [metric for _, metric, _ in columns]:
        for labels, value in values.get(metric, ()):
            row = cells.setdefault(label_value(labels, label), {})
            row[metric] = row.get(metric, 0.0) + value
    if not cells:
        return ""
    heads = "".join(f'<th class="n">{heading}</th>' for heading, _, _ in columns)
    rows = []
    for name, row in sorted(cells.items()):
        down = ' <span class="bad">down</span>' if up and not row.get(up) else ""
        data = "".join(
            f'<td class="n">{_format(row[metric], unit) if metric in row else "–"}</td>' for _, metric, unit in columns
        )
        rows.append(f"<tr><td>{escape(name)}{down}</td>{data}</tr>")
    return (
        f"<h2>{title}</h2><table><caption>{title}</caption><tr><th>{label.capitalize()}</th>{heads}</tr>"
        f"{''.join(rows)}</table>"
    )


def _links(title: str, links: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><td><a href="{href}"><code>{href.partition("?")[0]}</code></a></td><td>{text}</td></tr>'
        for href, text in links
    )
    return f"<h2>{title}</h2><table><caption>{title}</caption>{rows}</table>"


def _format(value: float, unit: str) -> str:
    """A number with its unit, for a person."""
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "seconds":
        return f"{value:,.1f} s"
    if unit == "milliseconds":
        return f"{1000 * value:,.1f} ms"
    for name in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:,.0f} {name}" if name == "B" else f"{value:,.1f} {name}"
        value /= 1024
    return f"{value:,.1f} GiB"


def escape(text: str) -> str:
    """Text for HTML, between tags or in a quoted attribute."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
