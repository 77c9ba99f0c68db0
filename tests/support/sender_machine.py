"""A store, its feed and what a sender leaves: a sender's surroundings, without processes."""

from __future__ import annotations

import select
import threading
from pathlib import Path
from typing import Any

from prom_probe.config.remote_write import ExternalLabel, parse_destination
from prom_probe.log import Log
from prom_probe.model.labels import make_labels
from prom_probe.model.sample import STALE_BYTES
from prom_probe.remote.batch import SentLabels
from prom_probe.remote.feed import SampleFeed, SeriesChoice
from prom_probe.remote.feed_client import FeedClient
from prom_probe.remote.feed_protocol import FeedSockets
from prom_probe.remote.sender import Sender
from prom_probe.remote.sender_state import SLOT_BYTES, SendCounts, StateKeeper, read_slot
from prom_probe.remote.sending import make_message
from prom_probe.ring.slot import Slot
from prom_probe.tsdb.store import Store
from tests.support.tsdb_tools import bits, gauges, row

START_MS = 1_700_000_000_000
V2 = ', "protobuf_message": "io.prometheus.write.v2.Request"'
OWN = make_labels("", {"job": "prom_probe", "instance": "host"})


class SenderMachine:
    """A store, its feed in a thread that stands for the aggregator's loop, and what a sender leaves."""

    def __init__(self, rows: int = 10, series: int = 3) -> None:
        self.store = Store()
        self.store.announce("c", 0, 0, gauges(series))
        for i in range(rows):
            self.store.append_row("c", 0, START_MS + 1000 * i, row([i + 0.5 * n for n in range(series)]))
        self.slot = Slot(SLOT_BYTES)
        self.sockets = FeedSockets()
        self.feed = SampleFeed(self.store, [SeriesChoice(1, [], 0)])
        self.log: list[tuple[str, str, dict[str, object]]] = []
        self._ended = threading.Event()
        self._loop = threading.Thread(target=self._serve, daemon=True)
        self._loop.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            if select.select([self.sockets.aggregator], [], [], 0.02)[0]:
                self.feed.serve(self.sockets.aggregator)

    def close(self) -> None:
        self._ended.set()
        self._loop.join()
        self.sockets.aggregator.close()
        self.sockets.sender.close()

    def sender(
        self,
        destination: str,
        *,
        folder: Path | None = None,
        external: dict[str, str] | None = None,
        retention_s: float = 3600.0,
    ) -> Sender:
        """As the worker makes it; retries come at once."""
        found = parse_destination(destination)

        class Noted(Log):
            def __call__(log, level: str, message: str, **fields: object) -> None:
                self.log.append((level, message, fields))

        keeper = StateKeeper(self.slot, str(folder) if folder else None, lambda level, text: None)
        given = [ExternalLabel(*pair) for pair in (external or {}).items()]
        labels = SentLabels(found, OWN, given, make_message(found))
        return Sender(
            0,
            found,
            labels,
            FeedClient(self.sockets.sender),
            keeper,
            start_ms=0,
            poll_s=0.02,
            retention_s=retention_s,
            log=Noted(),
        )

    @property
    def counts(self) -> SendCounts:
        (state,) = read_slot(self.slot).destinations.values()
        return state.counts

    def expected(self, *, marked: bool = True) -> dict[Any, list[tuple[int, bytes]]]:
        """What the receiver has when all was sent, and the run has ended."""
        newest = self.store.newest()[0].t_ms
        found = {}
        for n in range(len(self.store.newest()[0].columns)):
            labels = make_labels("g", {"i": str(n), **dict(OWN)})
            samples = [(START_MS + 1000 * i, bits(i + 0.5 * n)) for i in range((newest - START_MS) // 1000 + 1)]
            found[labels] = [*samples, *([(newest + 1, STALE_BYTES)] if marked else [])]
        return found


def destination_json(url: str, more: str = "") -> str:
    """A destination in the configuration's form; retries come at once."""
    queue = '"queue_config": {"min_backoff": "10ms", "max_backoff": "10ms"}'
    return f'{{"url": "{url}", "name": "r", {queue}{more}}}'
