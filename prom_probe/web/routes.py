"""Every endpoint: its methods, path, handler, and the listeners that serve it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from prom_probe.web import operations
from prom_probe.web.api import features as api_features
from prom_probe.web.api import federate, remote_write
from prom_probe.web.api import history as api_history
from prom_probe.web.api import labels as api_labels
from prom_probe.web.api import query as api_query
from prom_probe.web.api import self_metrics as api_self_metrics
from prom_probe.web.api import status as api_status
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request
from prom_probe.web.page import landing, static

Handler: TypeAlias = Callable[[AppContext, Request], Answer]


class Route(NamedTuple):
    """`path` is the template: `:name` stands for one segment. `api`: only on API listeners.

    `any_host`: the Host header is not checked, even on loopback API listeners. `large_body`: the request's body may be
    larger than a form. `open`: needs no password. `api_handler`: answers on API listeners in place of `handler`.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    api: bool = True
    any_host: bool = False
    large_body: bool = False
    open: bool = False
    api_handler: Handler | None = None

    def handler_on(self, api: bool) -> Handler:
        """The handler on an API listener, or on another one."""
        return self.api_handler if api and self.api_handler is not None else self.handler


_PAGE = ("GET", "HEAD")
_GET = ("GET", "OPTIONS")
_FORM = ("GET", "OPTIONS", "POST")

ROUTES: tuple[Route, ...] = (
    Route(_PAGE, "/", landing.landing, api=False, api_handler=static.index),
    Route(_PAGE, "/status", landing.landing, api=False, api_handler=landing.beside_the_page),
    Route(_PAGE, "/static/:name", static.file),
    Route(_PAGE, "/metrics", operations.metrics, api=False, any_host=True),
    Route(_PAGE, "/-/healthy", operations.healthy, api=False, any_host=True, open=True),
    Route(_PAGE, "/-/ready", operations.ready, api=False, any_host=True, open=True),
    Route(_GET, "/version", api_status.version),
    Route(("POST", "PUT"), "/-/reload", operations.reload),
    Route(_GET, "/federate", federate.federate),
    Route(_FORM, "/api/v1/query", api_query.query),
    Route(_FORM, "/api/v1/query_range", api_query.query_range),
    Route(_FORM, "/api/v1/format_query", api_query.format_query),
    Route(_FORM, "/api/v1/parse_query", api_query.parse_query),
    Route(_FORM, "/api/v1/query_exemplars", api_query.query_exemplars),
    Route(_FORM, "/api/v1/labels", api_labels.labels),
    Route(_GET, "/api/v1/label/:name/values", api_labels.label_values),
    Route(_FORM, "/api/v1/series", api_labels.series),
    Route(_GET, "/api/v1/metadata", api_labels.metadata),
    Route(_GET, "/api/v1/processes", api_history.processes),
    Route(_GET, "/api/v1/events", api_history.events),
    Route(_GET, "/api/v1/run", api_history.run),
    Route(("POST",), "/api/v1/write", remote_write.write, large_body=True),
    Route(_GET, "/api/v1/rules", api_status.constant({"groups": []})),
    Route(_GET, "/api/v1/alerts", api_status.constant({"alerts": []})),
    Route(_GET, "/api/v1/alertmanagers", api_status.constant({"activeAlertmanagers": [], "droppedAlertmanagers": []})),
    Route(_GET, "/api/v1/notifications", api_status.constant([])),
    Route(_GET, "/api/v1/scrape_pools", api_status.scrape_pools),
    Route(_GET, "/api/v1/targets", api_status.targets),
    Route(_GET, "/api/v1/targets/metadata", api_status.targets_metadata),
    Route(_GET, "/api/v1/features", api_features.features),
    Route(_GET, "/api/v1/status/buildinfo", api_status.buildinfo),
    Route(_GET, "/api/v1/status/config", api_status.config),
    Route(_GET, "/api/v1/status/flags", api_status.flags),
    Route(_GET, "/api/v1/status/runtimeinfo", api_status.runtimeinfo),
    Route(_GET, "/api/v1/status/self_metrics", api_self_metrics.self_metrics),
    Route(_GET, "/api/v1/status/tsdb", api_status.tsdb),
    Route(_GET, "/api/v1/status/tsdb/blocks", api_status.constant({"blocks": []})),
    Route(_GET, "/api/v1/status/walreplay", api_status.constant({"min": 0, "max": 0, "current": 0})),
)

_STATIC = {route.path: route for route in ROUTES if ":" not in route.path}
_TEMPLATES = [(route.path.split("/"), route) for route in ROUTES if ":" in route.path]


def maybe_route(path: str) -> Route | None:
    """The route of a path, None where there is none."""
    route = _STATIC.get(path)
    if route is None:
        segments = path.split("/")
        for template, candidate in _TEMPLATES:
            if len(segments) == len(template) and all(
                segment == want or (want[:1] == ":" and segment)
                for segment, want in zip(segments, template, strict=True)
            ):
                return candidate
    return route
