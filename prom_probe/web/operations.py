"""`/metrics`, `/-/healthy`, `/-/ready`, `/-/reload`: for scrapers, kubelets and operators."""

from __future__ import annotations

import asyncio
import time

from prom_probe.exposition.formats import choose
from prom_probe.exposition.text import Exposition
from prom_probe.web.api.params import parameters_of
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Pending, Request, Response, plain

_RELOAD_S = 10.0
_VARY = (("Vary", "Accept"),)


def metrics(context: AppContext, request: Request) -> Response:
    """The newest value of every exposed series, in the format that the scraper prefers.

    `name[]` restricts the answer to some families or series, `collect[]` to some collectors. The scraper's timeout
    (X-Prometheus-Scrape-Timeout-Seconds) is ignored: nothing is collected here, and writing takes a millisecond.
    """
    started = time.perf_counter()
    form = choose(request.headers.get("accept", ""))
    rows, names, exposition = context.store.newest(), None, context.exposition(form)
    if request.query:
        query = parameters_of(request)
        names = query.all("name[]") or None
        if wanted := query.all("collect[]"):
            known = {row.collector for row in rows}
            for name in wanted:
                if name not in known:
                    return plain(400, f"unknown collector {name!r}; known are {', '.join(sorted(known))}")
            rows = [row for row in rows if row.collector in wanted]
        if names or wanted:
            exposition = Exposition(form, names and frozenset(names))
    body = exposition.render(rows)
    context.scrape_seconds.observe(time.perf_counter() - started)
    return Response(200, body, form.content_type, _VARY)


def reload(context: AppContext, request: Request) -> Answer:
    """Reload the settings: 200, or 500 with the fault; 403 where that is not allowed."""
    if context.about.reload is None:
        return plain(403, "Lifecycle API is not enabled; --web.enable-lifecycle enables it.")
    answer = Pending()
    asked = context.about.reload()
    late = asyncio.get_running_loop().call_later(_RELOAD_S, asked.cancel)

    def done(outcome: asyncio.Future[str]) -> None:
        late.cancel()
        if answer.done():
            return
        if outcome.cancelled():
            answer.set_result(plain(503, "the settings have not been reloaded yet"))
        elif error := outcome.result():
            answer.set_result(plain(500, f"failed to reload config: {error}"))
        else:
            answer.set_result(plain(200, "settings reloaded"))

    asked.add_done_callback(done)
    return answer


def healthy(context: AppContext, request: Request) -> Response:
    """200 whenever the server answers."""
    return plain(200, "prom_probe is healthy.")


def ready(context: AppContext, request: Request) -> Response:
    """200 once the first collections are stored, 503 before."""
    return plain(200, "prom_probe is ready.") if context.about.ready() else plain(503, "prom_probe is not ready.")
