"""The metrics of the HTTP server."""

from prom_probe.model.definition import Definition, define

# fmt: off
REQUESTS = define("prom_probe_http_requests_total", "counter", "", "HTTP requests answered, by route and status code.",
    labels="handler code", source="the HTTP server",
    definition="Count of answers; `handler` is the route's template, or `none`.", platforms="all")
QUERY_DURATION = define("prom_probe_query_duration_seconds", "histogram", "seconds",
    "Time from a query's arrival to its answer, waiting for a place included.", source="the monotonic clock",
    definition="One observation a query of `/api/v1/query` and `/api/v1/query_range`.", platforms="all")
SCRAPE_DURATION = define("prom_probe_scrape_duration_seconds", "histogram", "seconds",
    "Time to write the text of /metrics.", source="the monotonic clock",
    definition="One observation a reading of `/metrics`, sending left out.", platforms="all")
ACCEPT_FAILURES = define("prom_probe_http_accept_failures_total", "counter", "",
    "Connections that could not be accepted for want of descriptors or memory.", source="the HTTP server",
    definition="Count of failed accept(2) calls: EMFILE, ENFILE, ENOBUFS, ENOMEM.", platforms="all")

DEFINITIONS: tuple[Definition, ...] = (REQUESTS, QUERY_DURATION, SCRAPE_DURATION, ACCEPT_FAILURES)
