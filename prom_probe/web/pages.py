"""`/metrics`, `/-/healthy`, `/-/ready`: what a scraper and a kubelet ask for."""

from __future__ import annotations

import time

from prom_probe.web.context import Context
from prom_probe.web.message import Request, Response, plain


def metrics(context: Context, request: Request) -> Response:
    """The newest value of every exposed series."""
    started = time.perf_counter()
    body = context.exposition.render(context.store.newest())
    context.scrape_seconds.observe(time.perf_counter() - started)
    return Response(200, body, context.exposition.form.content_type)


def healthy(context: Context, request: Request) -> Response:
    """200 as long as anybody answers."""
    return plain(200, "prom_probe is healthy.")


def ready(context: Context, request: Request) -> Response:
    """200 once the first collections are stored, 503 before."""
    return plain(200, "prom_probe is ready.") if context.about.ready() else plain(503, "prom_probe is not ready.")
