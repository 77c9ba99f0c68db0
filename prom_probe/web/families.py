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
    "Connections that could not be accepted, mostly because descriptors or memory ran out.", source="the HTTP server",
    definition="Count of failed accept(2) calls, and of accepted sockets that could not be set up.", platforms="all")
ACCEPT_PAUSES = define("prom_probe_http_accept_pauses_total", "counter", "",
    "Times that a listener stopped accepting because all its connections were busy.", source="the HTTP server",
    definition="Count of pauses of up to a second at the limit of connections, with an answer in progress on each.",
    platforms="all")
EVICTED_CONNECTIONS = define("prom_probe_http_evicted_connections_total", "counter", "",
    "Connections that were cut off to make room for others.", source="the HTTP server",
    definition="Count of connections ended while we waited for their clients, at the limit of connections or for want "
    "of descriptors.", platforms="all")
HANDSHAKE_FAILURES = define("prom_probe_http_tls_handshake_failures_total", "counter", "",
    "Clients that TLS has refused, or that have refused us.", labels="reason", source="the HTTP server",
    definition="Count of failed handshakes; `reason` is `no_certificate`, `unknown_ca`, `expired`, `not_yet_valid`, "
    "`name_not_allowed`, `bad_certificate` for the client's certificate, `not_tls`, `nothing_in_common` (no version or "
    "cipher), `refused_by_client` (our certificate, mostly), `timeout`, `closed` (the client left) or `other`. "
    "Absent until there is one.", platforms="all")

DEFINITIONS: tuple[Definition, ...] = (
    *(REQUESTS, QUERY_DURATION, SCRAPE_DURATION),
    *(ACCEPT_FAILURES, ACCEPT_PAUSES, EVICTED_CONNECTIONS, HANDSHAKE_FAILURES),
)
