"""`/metrics`, `/-/healthy`, `/-/ready`, `/-/reload`: what a scraper, a kubelet and an operator ask for."""

from __future__ import annotations

import asyncio
import time

from prom_probe.web.context import Context
from prom_probe.web.message import Answer, Pending, Request, Response, plain

_RELOAD_S = 10.0


def metrics(context: Context, request: Request) -> Response:
    """The newest value of every exposed series."""
    started = time.perf_counter()
    body = context.exposition.render(context.store.newest())
    context.scrape_seconds.observe(time.perf_counter() - started)
    return Response(200, body, context.exposition.form.content_type)


def reload(context: Context, request: Request) -> Answer:
    """Read the settings anew: 200, or 500 with what is wrong with them; 403 where that is not allowed."""
    if context.about.reload is None:
        return plain(403, "Lifecycle API is not enabled; --web.enable-lifecycle does so.")
    answer = Pending()
    asked = context.about.reload()
    late = asyncio.get_running_loop().call_later(_RELOAD_S, asked.cancel)

    def done(outcome: asyncio.Future[str]) -> None:
        late.cancel()
        if answer.done():
            return
        if outcome.cancelled():
            answer.set_result(plain(503, "the settings are not reloaded yet"))
        elif error := outcome.result():
            answer.set_result(plain(500, f"failed to reload config: {error}"))
        else:
            answer.set_result(plain(200, "the settings are reloaded"))

    asked.add_done_callback(done)
    return answer


def healthy(context: Context, request: Request) -> Response:
    """200 as long as anybody answers."""
    return plain(200, "prom_probe is healthy.")


def ready(context: Context, request: Request) -> Response:
    """200 once the first collections are stored, 503 before."""
    return plain(200, "prom_probe is ready.") if context.about.ready() else plain(503, "prom_probe is not ready.")
