"""The aggregator's part in remote write: it answers the sender, and publishes what the sender has done."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from prom_probe.aggregate import sending_families as own
from prom_probe.config.settings import Config
from prom_probe.model.meter import Meter
from prom_probe.remote.sender_state import read_slot
from prom_probe.ring.slot import Slot
from prom_probe.tsdb.store import Store


def serve_feed(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, config: Config, store: Store, drain: Callable[[], None]
) -> None:
    """Answer what the sender asks on `sock`."""
    from prom_probe.remote.feed import SampleFeed, make_choices

    feed = SampleFeed(store, make_choices(config, socket.gethostname()), drain)
    loop.add_reader(sock, feed.serve, sock)


def measure_sending(meter: Meter, slot: Slot) -> None:
    """Take over the sender's counts."""
    for name, state in read_slot(slot).destinations.items():
        counts = state.counts
        for definition, value in (
            (own.SENT_SAMPLES, counts.sent),
            (own.RETRIED_SAMPLES, counts.retried),
            (own.SENT_BYTES, counts.bytes),
            (own.LOST, counts.lost_s),
            (own.LAG, counts.lag_s),
            (own.HIGHEST_TIME, counts.highest_s),
            (own.UP, counts.up),
        ):
            meter.cell(definition.family, destination=name).set(value)
        for reason, failures in counts.failed.items():
            meter.cell(own.FAILED_REQUESTS.family, destination=name, reason=reason).set(failures)
        for reason, samples in counts.dropped.items():
            meter.cell(own.DROPPED_SAMPLES.family, destination=name, reason=reason).set(samples)
