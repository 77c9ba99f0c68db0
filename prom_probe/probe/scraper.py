"""The scrape worker: a probe loop for each target, in a thread of its own, so that none waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from prom_probe import __version__
from prom_probe.collectors.scrape.collector import HEADERS, ScrapeCollector, Target
from prom_probe.collectors.scrape.exposed import Exposed
from prom_probe.collectors.scrape.page import PageLimits, StampedSample
from prom_probe.collectors.scrape.target_labels import LabelLimits, TargetLabels
from prom_probe.config.http_credentials import ClientTls, authorization_header, read_secret
from prom_probe.config.planned_target import PlannedTarget, plan_targets
from prom_probe.model.relabel import Relabeller
from prom_probe.probe.loop import Probe
from prom_probe.ring.codec import Event, encode, encode_stamped
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.producer import Producer
from prom_probe.ring.slot import Slot
from prom_probe.sources.http_page import HttpPage, PageAccess, parse_endpoint
from prom_probe.worker_threads import WorkerThreads

if TYPE_CHECKING:
    from prom_probe.collectors.base import Collector
    from prom_probe.config.settings import Config

# How long to wait for scrapes in progress at the end.
_END_S = 1.0

_STACK_BYTES = 1 << 20


def make_source(config: Config, target: PlannedTarget) -> HttpPage:
    """The source of a target's pages."""
    headers = {**HEADERS, "User-Agent": f"prom_probe/{__version__}"}
    settings, tls = target.settings, ClientTls(target.settings.tls_config)
    access = PageAccess(
        partial(_secret_headers, target),
        tls.get,
        settings.tls_config.server_name,
        follow_redirects=settings.follow_redirects,
    )
    most_bytes = settings.body_bytes or config.scrape_body_size_limit
    return HttpPage(parse_endpoint(target.address.reveal()), headers, most_bytes, access)


def _secret_headers(target: PlannedTarget) -> list[tuple[str, str]]:
    """The headers that are meant for the target alone; their files are read."""
    settings = target.settings
    authorization = authorization_header(settings.basic_auth, settings.authorization)
    if target.authorization is not None:
        authorization = target.authorization.reveal()
    found = [] if authorization is None else [("Authorization", authorization)]
    for name, header in settings.http_headers.items():
        values = [*header.values, *(secret.reveal() for secret in header.secrets), *map(read_secret, header.files)]
        found += [(name, value) for value in values]
    return found


def make_target(config: Config, planned: PlannedTarget) -> Target:
    """What the collector is told of a target. A job's own limits come before those of all; none is above the ring's."""
    settings = planned.settings
    limits = LabelLimits(
        settings.label_limit or config.scrape_label_limit,
        settings.label_name_length_limit or config.scrape_label_name_length_limit,
        settings.label_value_length_limit or config.scrape_label_value_length_limit,
    )
    rules = settings.metric_relabel_configs
    labels = TargetLabels(
        planned.labels,
        honor_labels=settings.honor_labels,
        relabeller=Relabeller(rules) if rules else None,
        limits=limits,
    )
    most = config.scrape_sample_limit
    samples = min(settings.sample_limit or most, most)
    page = PageLimits(samples=samples, lines=10 * most + 1000)
    return Target(planned.name, labels, planned.timeout_s, page, settings.honor_timestamps)


def make_collectors(
    config: Config, log: Callable[[str, str], None], producer: Producer | None = None
) -> list[ScrapeCollector]:
    """A collector for each target. Samples with timestamps of their own, and failures, go to `producer`."""
    exposed = Exposed(config.scrape_expose)
    collectors = []
    for planned in plan_targets(config):
        name = planned.collector
        collector = ScrapeCollector(
            make_target(config, planned),
            make_source(config, planned),
            exposed,
            log,
            stamped=_forget if producer is None else StampedChannel(name, producer).send,
            fault=_forget if producer is None else FaultChannel(name, producer).send,
        )
        collectors.append(collector)
    return collectors


def _forget(told: object) -> None: ...


class StampedChannel:
    """Sends one target's samples that have timestamps of their own, but for those that the page before had too."""

    def __init__(self, collector: str, producer: Producer) -> None:
        self._collector = collector
        self._producer = producer
        self._generation = -1
        self._sent: frozenset[StampedSample] = frozenset()

    def send(self, samples: Sequence[StampedSample]) -> None:
        """Push what is new. What the ring has no room for is counted there as dropped."""
        if self._producer.generation != self._generation:
            self._generation, self._sent = self._producer.generation, frozenset()
        new = [sample for sample in samples if sample not in self._sent]
        self._sent = frozenset(samples)
        for payload in encode_stamped(self._collector, new, self._producer.max_payload):
            self._producer.push(payload)


class FaultChannel:
    """Says why one target's scrapes fail: once, until they fail for another reason."""

    def __init__(self, collector: str, producer: Producer) -> None:
        self._collector = collector
        self._producer = producer
        self._told: tuple[int, str] | None = None

    def send(self, text: str) -> None:
        told = self._producer.generation, text
        event = Event(self._collector, time.time_ns() // 1_000_000, "down", text=text)
        if told != self._told and self._producer.push(encode(event)):
            self._told = told


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
    """Runs each collector on a beat of its own, in its interval in seconds, until `stop` or the end of the supervisor.

    `wake` and `lifeline` as for a `Probe`. Threads that hang end with the process.
    """

    def __init__(
        self,
        collectors: Sequence[tuple[Collector, float]],
        producer: SharedProducer,
        *,
        wake: Doorbell,
        lifeline: int,
        log: Callable[[str, str], None],
    ) -> None:
        self._wakes = [Doorbell() for _ in collectors]
        self._probes = [
            Probe([collector], interval_s, producer, Slot(64), wake=bell, lifeline=lifeline, log=log)
            for (collector, interval_s), bell in zip(collectors, self._wakes, strict=True)
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
