"""The metrics of remote write, by destination."""

from prom_probe.model.definition import Definition, define

_SENDER = "the sender"

# fmt: off
SENT_SAMPLES = define("prom_probe_remote_write_samples_sent_total", "counter", "",
    "Samples that the receiver has accepted.", labels="destination", source=_SENDER,
    definition="Count of samples in requests with a 2xx answer. Absent without a destination, as are all of these.",
    platforms="all")
FAILED_REQUESTS = define("prom_probe_remote_write_requests_failed_total", "counter", "",
    "Requests without a 2xx answer, by reason.", labels="destination reason", source=_SENDER,
    definition="Count of tries that ended in `connection`, `timeout` or `http_STATUS`.", platforms="all")
RETRIED_SAMPLES = define("prom_probe_remote_write_samples_retried_total", "counter", "",
    "Samples in requests that were repeated.", labels="destination", source=_SENDER,
    definition="Count of samples, once for each time that their request is repeated.", platforms="all")
DROPPED_SAMPLES = define("prom_probe_remote_write_samples_dropped_total", "counter", "",
    "Samples that are not sent, or not again, by reason.", labels="destination reason", source=_SENDER,
    definition="Count of samples: `http_STATUS` was refused for good, or with 5xx for as long as samples are kept; "
    "`repeated` is a 400 to a repeated request, which mostly means that the first was stored; `relabel` was dropped by "
    "write_relabel_configs, `evicted` is of series that the store gave up before.", platforms="all", essential=True)
SENT_BYTES = define("prom_probe_remote_write_sent_bytes_total", "counter", "bytes",
    "Bytes of answered requests, compressed.", labels="destination", source=_SENDER,
    definition="Sum of the sizes of the bodies of all requests that were answered, whatever the answer.",
    platforms="all")
LOST = define("prom_probe_remote_write_lost_seconds_total", "counter", "seconds",
    "Time whose samples retention dropped before they were sent.", labels="destination", source=_SENDER,
    definition="Sum of the gaps between the newest sample sent and the oldest still stored, of the collector with the "
    "largest gap.", platforms="all", essential=True)
LAG = define("prom_probe_remote_write_lag_seconds", "gauge", "seconds", "Age of the oldest sample that is being sent.",
    labels="destination", source=_SENDER, definition="At the last try; 0 when all has been sent.",
    platforms="all", essential=True)
HIGHEST_TIME = define("prom_probe_remote_write_highest_sent_timestamp_seconds", "gauge", "seconds",
    "Timestamp of the newest sample that was sent.", labels="destination", source=_SENDER,
    definition="Seconds since 1970; 0 before the first.", platforms="all")
UP = define("prom_probe_remote_write_up", "gauge", "", "Whether the last request was accepted.", labels="destination",
    source=_SENDER, definition="1 after a 2xx answer, 0 before the first and after anything else.",
    platforms="all", essential=True)

DEFINITIONS: tuple[Definition, ...] = (
    SENT_SAMPLES,
    FAILED_REQUESTS,
    RETRIED_SAMPLES,
    DROPPED_SAMPLES,
    SENT_BYTES,
    LOST,
    LAG,
    HIGHEST_TIME,
    UP,
)
