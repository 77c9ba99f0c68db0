"""Tries each remote write receiver with an empty request, which none stores; and asks a prom-probe that sends there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from prom_probe.aggregate.sending_families import LAG, UP
from prom_probe.cli.client import ask
from prom_probe.cli.doctor.finding import Finding
from prom_probe.cli.error import ClientError
from prom_probe.config.address import Address
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
_REFUSES = (
    "its words are in prom-probe's log: change what it refuses there, or leave it out with write_relabel_configs; with "
    "send: {newest_first: true} what is newer does not wait for it"
)

# How old the oldest sample on its way may be while requests fail, before that is a finding.
_LAG_S = 60.0

_LABEL = r'\{[^}]*\bdestination="([^"]*)"[^}]*\} (\S+)'


def check_receivers(config: Config) -> Iterator[Finding]:
    """A finding for each destination."""
    if find_spec(REMOTE_PACKAGE) is None or not config.destinations:  # the former is a finding of its own
        return
    lags = _failing(config)
    for destination in config.destinations:
        yield _check(destination, lags.get(destination.label, 0.0))


def _failing(config: Config) -> Mapping[str, float]:
    """By destination, the lag in seconds where the last request of a prom-probe that runs here has failed."""
    for address in (*config.web_listen_address, *config.api_listen_address):
        try:
            page = ask(_url(address), "/metrics", timeout_s=_MOST_S).decode(errors="replace")
        except ClientError:
            continue
        up, lag = (dict(re.findall(f"^{d.family.name}{_LABEL}", page, re.MULTILINE)) for d in (UP, LAG))
        if not up:  # another server's
            continue
        return {label: float(lag.get(label, 0)) for label, value in up.items() if float(value) == 0}
    return {}


def _url(address: Address) -> str:
    """Where we ask a prom-probe that listens there."""
    if address.path:
        return f"unix:{address.path}"
    host = address.host if address.host not in ("", "0.0.0.0", "::") else "localhost"
    return f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"


def _check(destination: Destination, lag_s: float) -> Finding:
    """`lag_s`: that of a prom-probe whose last request there has failed; else 0."""
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
    if lag_s > _LAG_S and (200 <= answer.status < 300 or answer.status == 400):
        waits = format_duration(round(lag_s))
        reason = f"it takes an empty request ({answer.status}), but what prom-probe sends has waited for {waits}"
        return Finding(subject, source, "missing", "", reason, _REFUSES, without)
    if 200 <= answer.status < 300:
        return Finding(subject, source, "ok", f"{answer.status} in {took}")
    reason = f"{answer.status} {words}".rstrip()
    if answer.status == 400:  # it has understood us, and wants no empty requests
        return Finding(subject, source, "ok", f"{reason}, in {took}")
    return Finding(subject, source, "missing", "", reason, _CHANGES.get(answer.status, _OTHERWISE), without)
