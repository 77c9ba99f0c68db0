"""Tries each remote write receiver with an empty request, which none of them stores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec

from prom_probe.cli.doctor.finding import Finding
from prom_probe.config.remote_write import Destination
from prom_probe.config.settings import Config
from prom_probe.config.units import format_duration, parse_duration
from prom_probe.model.printable import printable
from prom_probe.run.preflight import REMOTE_PACKAGE

_MOST_S = 5.0
_WORDS_CHARS = 200

# What to change, by what went wrong: a status, or none.
_CHANGES = {
    401: "give the user, password or token that it wants: basic_auth or authorization in remote_write",
    403: "let this user write there",
    404: "correct the path: Prometheus and VictoriaMetrics have /api/v1/write, Mimir has /api/v1/push, and Prometheus "
    "needs --web.enable-remote-write-receiver",
    405: "correct the path: this one takes no writes",
    415: "leave protobuf_message at prometheus.WriteRequest",
}
_UNREACHABLE = "start what should answer there, or correct the URL; for TLS see tls_config"
_OTHERWISE = "look into the receiver's log"


def check_receivers(config: Config) -> Iterator[Finding]:
    """A finding for each destination."""
    if find_spec(REMOTE_PACKAGE) is not None:  # that is a finding of its own
        yield from map(_check, config.destinations)


def _check(destination: Destination) -> Finding:
    from cramjam import snappy

    from prom_probe.remote.connection import ReceiverConnection, SendError
    from prom_probe.remote.message import Message1

    subject, source = f"remote write {destination.label}", destination.shown_url
    without = "nothing reaches this receiver; what is stored waits for it as long as retention allows"
    connection = ReceiverConnection(destination)
    started_s = time.monotonic()
    try:
        body = bytes(snappy.compress_raw(b""))
        answer = connection.post(body, Message1.headers, min(_MOST_S, parse_duration(destination.remote_timeout)))
    except SendError as error:
        return Finding(subject, source, "missing", "", str(error), _UNREACHABLE, without)
    finally:
        connection.close()
    took = format_duration(max(0.001, round(time.monotonic() - started_s, 3)))
    words = printable(" ".join(answer.words.split()))[:_WORDS_CHARS]
    if 200 <= answer.status < 300:
        return Finding(subject, source, "ok", f"{answer.status} in {took}")
    reason = f"{answer.status} {words}".rstrip()
    if answer.status == 400:  # it has understood us, and wants no empty requests
        return Finding(subject, source, "ok", f"{reason}, in {took}")
    return Finding(subject, source, "missing", "", reason, _CHANGES.get(answer.status, _OTHERWISE), without)
