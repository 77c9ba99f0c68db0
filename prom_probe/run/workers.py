"""The main functions of the worker processes, called in each after its fork."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from prom_probe.log import Log
from prom_probe.run import kept
from prom_probe.run.collector_context import collector_context
from prom_probe.run.probes import PROBES, collector_intervals
from prom_probe.run.shared import AGGREGATOR, SENDER, Shared

if TYPE_CHECKING:
    from prom_probe.history.run_info import RunInfo


def load_probes() -> None:
    """Import what probe workers run before they are forked: they share its pages, which saves 1.2 MB."""
    import prom_probe.collectors.cgroup.collector
    import prom_probe.collectors.process.collector
    import prom_probe.collectors.registry
    import prom_probe.collectors.system.collector
    import prom_probe.collectors.workers.collector
    import prom_probe.probe.loop
    import prom_probe.ring.producer  # noqa: F401


def run_probe(shared: Shared, name: str, lifeline: int) -> None:
    """A probe worker: collects until SIGTERM, or until `lifeline` says that the supervisor is gone."""
    started_s = time.monotonic()
    from prom_probe.collectors.registry import COLLECTORS
    from prom_probe.probe.loop import Probe
    from prom_probe.ring.codec import Happened, encode
    from prom_probe.ring.producer import Producer
    from prom_probe.sources.reading import READING

    log = _begin(shared, name)
    READING.share(shared.notes[name], shared.config.path_procfs, shared.watchdog.left_out(name))
    context = collector_context(shared, log)
    context.wake = shared.wakes[name].ring
    context.started_s = started_s
    kind = PROBES[name]
    producer = Producer(shared.rings[name], shared.bell)
    context.happened = lambda event: producer.push(encode(Happened(event)))
    probe = Probe(
        [COLLECTORS[collector](context) for collector in kind.collectors],
        kind.interval(shared.config),
        producer,
        shared.slots[name],
        wake=shared.wakes[name],
        lifeline=lifeline,
        log=log,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: probe.stop())
    probe.run()


def run_scraper(shared: Shared, name: str, lifeline: int) -> None:
    """The scrape worker, likewise."""
    from prom_probe.probe.scraper import Scraper, SharedProducer, make_collectors

    log = _begin(shared, name)
    producer = SharedProducer(shared.rings[name], shared.bell)
    intervals = collector_intervals(shared.config)[name]
    collectors = make_collectors(shared.config, log, producer)
    scraper = Scraper(
        [(collector, intervals[collector.name]) for collector in collectors],
        producer,
        wake=shared.wakes[name],
        lifeline=lifeline,
        log=log,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: scraper.stop())
    scraper.run()


def run_sender(shared: Shared, lifeline: int, flush_s: float | None = None) -> None:
    """The remote write worker: sends until SIGTERM, and then what is left; with `flush_s` only that, for so long."""
    early: list[int] = []  # a run can end before this worker is ready
    signal.signal(signal.SIGTERM, lambda number, frame: early.append(number))
    from prom_probe.remote.sending import Sending, make_senders

    for listener in shared.listeners:
        listener.sock.close()
    log = shared.log.named(SENDER)
    log.count_drops(shared.board.dropped_cell(SENDER))
    assert shared.feed is not None, "it is started only where there is a destination"
    start_ms = round(1000 * (time.time() - (time.monotonic() - shared.started_s)))
    senders = make_senders(shared.config, shared.feed.sender, shared.sent, start_ms, log)
    timeout_s = flush_s if flush_s is not None else shared.config.remote_write_flush_timeout
    sending = Sending(senders, timeout_s, lifeline=lifeline)
    signal.signal(signal.SIGTERM, lambda number, frame: sending.stop())
    if early or flush_s is not None:
        sending.stop()
    sending.run()


def run_aggregator(shared: Shared, lifeline: int) -> None:
    """The aggregator: one loop that ingests and serves."""
    if shared.storage_path is not None:
        # Until it can be handled: a COMMAND that ends at once has its samples stored too.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # asyncio imports ssl if it can: 4 MB that are needed only for TLS.
    if not shared.tls:
        sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    import asyncio

    from prom_probe.aggregate.process import AggregatorInputs, aggregate
    from prom_probe.aggregate.serving import ServingSocket

    log = shared.log.named(AGGREGATOR)
    log.count_drops(shared.board.dropped_cell(AGGREGATOR))
    inputs = AggregatorInputs(
        config=msgspec.structs.replace(shared.config, storage_tsdb_path=shared.storage_path),
        log=log,
        rings=shared.rings,
        intervals=collector_intervals,
        bell=shared.bell,
        lifeline=lifeline,
        sockets=[ServingSocket(each.sock, each.api, each.address.loopback, each.url) for each in shared.listeners],
        supervisor_ring=shared.supervisor_ring,
        run=_run_info(shared),
        reload_slot=shared.reload_slot,
        reload_bell=shared.reload_bell,
        started_s=shared.started_s,
        dropped_lines=shared.board.dropped_lines,
        supervisor_errors=shared.board.failures,
        feed=shared.feed.aggregator if shared.feed is not None else None,
        sent=shared.sent,
    )
    _note_api(shared)
    _remove_excess_runs(shared)
    asyncio.run(aggregate(inputs))
    _remove_excess_runs(shared)


def _note_api(shared: Shared) -> None:
    """Leave the API's address with the samples, which nobody else can read until we have ended."""
    from prom_probe.tsdb.disk import api_file

    if shared.storage_path is None:
        return
    listener = next((each for each in shared.listeners if each.api), None)
    if listener is None:
        url = ""
    elif listener.address.path:
        url = f"unix:{os.path.abspath(listener.address.path)}"
    else:
        url = shared.url(listener)
    api_file.write(shared.storage_path, url)


def _remove_excess_runs(shared: Shared) -> None:
    if shared.kept_run is not None:
        kept.remove_excess(kept.how_many(shared.config), shared.kept_run)


def _run_info(shared: Shared) -> RunInfo:
    """What is watched, as far as it is known at the start."""
    from prom_probe import __version__
    from prom_probe.history.run_info import RunInfo

    argv = [os.fsencode(argument).decode("utf-8", "backslashreplace") for argument in shared.argv]
    return RunInfo(
        command=(argv if shared.shows_cmdline else argv[:1]) or None,
        host=platform.node(),
        start=round(shared.started_at, 3),
        trees=[watch.name for watch in shared.watches if watch.kind != "containers"],
        interval=PROBES["process"].interval(shared.config),
        version=__version__,
    )


def _begin(shared: Shared, name: str) -> Log:
    """What every probe worker does first; its log."""
    for listener in shared.listeners:
        listener.sock.close()
    log = shared.log.named(name)
    log.count_drops(shared.board.dropped_cell(name))
    _set_priority(shared.config.collect_priority, log)
    return log


def _set_priority(priority: str, log: Log) -> None:
    from prom_probe.sources.priority import set_priority, what_it_needs

    try:
        set_priority(priority)
    except OSError as error:
        needed = what_it_needs(priority, error)
        log("warn", f"priority {priority} is not granted: it needs {needed}", error=error.strerror)
