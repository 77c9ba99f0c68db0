"""`prom-probe run` from start to end; `run/handover.py` starts this module as a program."""

from __future__ import annotations

import gc
import os
import sys
import time
from functools import partial

if __name__ == "__main__":
    # msgspec imports it if it can: 1.3 MB (it needs `inspect` and `ast`) that are never used.
    sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource
from prom_probe.log import Log
from prom_probe.ring.layout import BEATS, ring_cells
from prom_probe.run import preflight
from prom_probe.run.collector_context import choose_watches
from prom_probe.run.command import Command, CommandError
from prom_probe.run.kernel import SystemKernel
from prom_probe.run.listening import close, listen
from prom_probe.run.probes import GPU, PROBES, SCRAPE, ProbeKind
from prom_probe.run.reload import reload
from prom_probe.run.shared import AGGREGATOR, Shared
from prom_probe.run.summary import summarize
from prom_probe.run.supervisor import Supervisor, Worker
from prom_probe.run.workers import load_probes, run_aggregator, run_probe, run_scraper


def run(config: Config, source: SettingsSource, argv: tuple[str, ...]) -> int:
    """Check, bind, fork, supervise, sum up. Returns the exit status; raises ConfigError or CommandError."""
    log = Log(config.log_level, config.log_format, "supervisor")
    preflight.check(config)
    tls = preflight.has_tls(config)
    load_probes()
    shared = Shared(config, log, source)
    shared.tls = tls
    try:
        shared.listeners += [listen(address, api=False) for address in config.web_listen_address]
        shared.listeners += [listen(address, api=True) for address in config.api_listen_address]
        started_s = time.monotonic()
        command = Command(argv) if argv else None
        choose_watches(shared, command)
        gc.collect()
        gc.freeze()  # the workers share these pages; a collection would copy them
        workers = [_probe_worker(shared, name, kind) for name, kind in PROBES.items()]
        supervisor = Supervisor(
            [*workers, Worker(AGGREGATOR, partial(run_aggregator, shared))],
            shared.board,
            SystemKernel(log),
            log=log,
            collect_now=partial(_collect_now, shared),
            listeners=shared.listeners,
            command=command,
            linger_s=config.run_linger,
            reload=partial(reload, shared, command),
            reload_bell=shared.reload_bell,
        )
        ended = supervisor.run(partial(_log_addresses, shared))
        if command is None or ended is None:
            return 0
        _print_line(
            summarize(command.name, ended, time.monotonic() - started_s, shared.slots["process"], shared.slots[GPU])
        )
        return ended.status
    finally:
        for listener in shared.listeners:
            close(listener)


def run_or_explain(config: Config, source: SettingsSource, argv: tuple[str, ...]) -> int:
    """The same, but an error is one line and its exit status."""
    try:
        return run(config, source, argv)
    except (CommandError, ConfigError) as error:
        _print_line(f"prom-probe: {error}")
        return error.status


def _probe_worker(shared: Shared, name: str, kind: ProbeKind) -> Worker:
    return Worker(
        name,
        partial(run_scraper if name == SCRAPE else run_probe, shared, name),
        wanted=lambda: kind.enabled(shared.config) and kind.wanted(shared.config),
        grace_s=kind.grace_s,
        max_crashes=kind.max_crashes,
    )


def _log_addresses(shared: Shared) -> None:
    for listener in shared.listeners:
        url = listener.url.replace("http://", "https://", 1) if shared.tls else listener.url
        shared.log("info", "listening", serves="api" if listener.api else "metrics", url=url)


def _collect_now(shared: Shared, deadline_s: float) -> None:
    """Have every probe that runs collect once more, and wait for that until `deadline_s`; targets are not scraped."""
    waiting = {}
    for row in shared.board.rows():
        if row.pid and row.name in PROBES and row.name != SCRAPE:
            waiting[row.name] = ring_cells(shared.rings[row.name])[BEATS]
            shared.wakes[row.name].ring()
    while waiting and time.monotonic() < deadline_s:
        time.sleep(0.001)
        waiting = {name: n for name, n in waiting.items() if ring_cells(shared.rings[name])[BEATS] == n}


def _print_line(text: str) -> None:
    os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def main() -> None:
    """Run with the settings that `become_sidecar` left in a pipe."""
    with open(int(sys.argv[1]), "rb") as stream:
        config, source, arguments = msgspec.msgpack.decode(stream.read(), type=tuple[Config, SettingsSource, int])
    sys.exit(run_or_explain(config, source, tuple(sys.argv[len(sys.argv) - arguments :])))


if __name__ == "__main__":
    main()
