"""The scrape worker: a probe loop for each target, in a thread of its own, so that none waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prom_probe import __version__
from prom_probe.collectors.scrape.collector import HEADERS, ScrapeCollector, Target
from prom_probe.collectors.scrape.exposed import Exposed
from prom_probe.collectors.scrape.page import PageLimits
from prom_probe.collectors.scrape.target_labels import TargetLabels
from prom_probe.probe.loop import Probe
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.producer import Producer
from prom_probe.ring.slot import Slot
from prom_probe.sources.http_page import HttpPage, PageAccess, parse_endpoint
from prom_probe.worker_threads import WorkerThreads

if TYPE_CHECKING:
    from prom_probe.collectors.base import Collector
    from prom_probe.config.settings import Config
    from prom_probe.config.target import ScrapeTarget

# The part of an interval that a scrape may take: a target that hangs must not cost the next beat too.
_SCRAPE_PART = 0.9
_MAX_SCRAPE_S = 10.0

# How long to wait for scrapes in progress at the end.
_END_S = 1.0

_STACK_BYTES = 1 << 20


def timeout_s(config: Config) -> float:
    """Maximum time of a scrape."""
    return min(_SCRAPE_PART * (config.interval_scrape or config.interval), _MAX_SCRAPE_S)


def make_source(config: Config, target: ScrapeTarget) -> HttpPage:
    """The source of a target's pages."""
    headers = {**HEADERS, "User-Agent": f"prom_probe/{__version__}"}
    authorization = target.authorization
    secret = [] if authorization is None else [("Authorization", authorization.reveal())]
    access = PageAccess(lambda: secret)
    return HttpPage(parse_endpoint(target.endpoint), headers, config.scrape_body_size_limit, access)


def make_collectors(config: Config, log: Callable[[str, str], None]) -> list[ScrapeCollector]:
    """A collector for each target."""
    limits, exposed = PageLimits(samples=config.scrape_sample_limit), Exposed(config.scrape_expose)
    collectors = []
    for scraped in config.scrape:
        labels = TargetLabels({"job": scraped.name, "instance": parse_endpoint(scraped.endpoint).instance})
        target = Target(scraped.name, labels, timeout_s(config), limits)
        collectors.append(ScrapeCollector(target, make_source(config, scraped), exposed, log))
    return collectors


class SharedProducer(Producer):
    """A ring's producer for several threads of one process."""

    __slots__ = ("_lock",)

    def __init__(self, buffer: memoryview, bell: Doorbell) -> None:
        super().__init__(buffer, bell)
        self._lock = threading.RLock()

    def push(self, payload: bytes) -> bool:
        with self._lock:
            return super().push(payload)

    def drop(self) -> None:
        with self._lock:
            super().drop()

    def beat(self) -> None:
        with self._lock:
            super().beat()


class Scraper:
    """Runs each collector on a beat of its own until `stop` or the end of the supervisor.

    `wake` and `lifeline` as for a `Probe`. Threads that hang end with the process.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        interval_s: float,
        producer: SharedProducer,
        *,
        wake: Doorbell,
        lifeline: int,
        log: Callable[[str, str], None],
    ) -> None:
        self._wakes = [Doorbell() for _ in collectors]
        self._probes = [
            Probe([collector], interval_s, producer, Slot(64), wake=bell, lifeline=lifeline, log=log)
            for collector, bell in zip(collectors, self._wakes, strict=True)
        ]
        self._wake = wake
        self._lifeline = lifeline
        self._stopping = False

    def stop(self) -> None:
        """End the loops; may be called from a signal handler."""
        self._stopping = True
        self._wake.ring()

    def run(self) -> None:
        """Run the loops. Raises the error that has ended one of the threads."""
        threads = WorkerThreads([probe.run for probe in self._probes], _STACK_BYTES, self._wake, self._lifeline)
        while not self._stopping:
            if not threads.wait():
                return
            if not self._stopping:
                for bell in self._wakes:
                    bell.ring()
        for probe in self._probes:
            probe.stop()
        threads.join(time.monotonic() + _END_S)
