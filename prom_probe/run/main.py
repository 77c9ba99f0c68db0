"""`prom-probe run` from start to end; `run/handover.py` starts this module as a program."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

if __name__ == "__main__":
    # msgspec imports it if it can: 1.3 MB (it needs `inspect` and `ast`) that are never used.
    sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource
from prom_probe.line_writer import write_line
from prom_probe.log import Log, describe_error
from prom_probe.model.printable import printable
from prom_probe.ring.layout import BEATS, ring_cells
from prom_probe.run import kept, preflight
from prom_probe.run.budget import OVER_BUDGET, compare_with_budgets
from prom_probe.run.collector_context import choose_watches
from prom_probe.run.command import Command, CommandError, CommandExit, become, die_of
from prom_probe.run.inheritance import (
    Inheritance,
    fill_standard_streams,
    inherited_descriptors,
    leave_streams_to_command,
    take_inheritance,
)
from prom_probe.run.kernel import SystemKernel
from prom_probe.run.listening import close, listen, listen_somehow
from prom_probe.run.prctl import adopt_orphans
from prom_probe.run.probes import GPU, PROBES, SCRAPE, ProbeKind
from prom_probe.run.reload import Reload
from prom_probe.run.report import write_report
from prom_probe.run.settings_pipe import take
from prom_probe.run.shared import AGGREGATOR, SENDER, Shared
from prom_probe.run.summary import read_used, summarize
from prom_probe.run.supervisor import GRACE_S, LAST_STAGE, SENDER_STAGE, Supervisor, Worker
from prom_probe.run.survivors import find_survivors
from prom_probe.run.told import ToldAggregator
from prom_probe.run.workers import load_probes, run_aggregator, run_probe, run_scraper, run_sender
from prom_probe.threads import trim_heap

# How long the last line waits for a reader that is behind.
_PATIENCE_S = 0.5


class _Setup(NamedTuple):
    """All that is there when nothing can fail any more."""

    shared: Shared
    supervisor: Supervisor
    command: Command | None


def run(config: Config, source: SettingsSource, argv: tuple[str, ...], inherited: Inheritance) -> CommandExit | None:
    """Check, bind, fork, supervise, sum up. Returns COMMAND's exit; raises ConfigError or CommandError.

    What keeps us from working, wrong settings aside, does not keep COMMAND from it.
    """
    log = Log(config.log_level, config.log_format, "supervisor")
    descriptors = inherited_descriptors()
    try:
        made = _prepare(config, source, argv, inherited, log)
    except (OSError, MemoryError) as error:
        reason = describe_error(error)
        if not argv:
            raise ConfigError(f"cannot start: {reason}", 1) from None
        log("error", "cannot start: COMMAND runs without being watched", reason=reason)
        raise become(argv, inherited) from None
    try:
        log_addresses = partial(_log_addresses, made.shared)
        if made.command is None:
            made.supervisor.run(log_addresses)
            return None
        leave_streams_to_command(descriptors)
        ended = _run_command(made, log_addresses)
        try:
            return _sum_up(made, made.command.name, ended)
        except Exception as error:  # COMMAND's exit status is what matters
            log("error", f"no summary: {describe_error(error)}")
        finally:
            _report(made.shared, inherited)
        return ended
    finally:
        for listener in made.shared.listeners:
            close(listener)


def _run_command(made: _Setup, ready: Callable[[], None]) -> CommandExit:
    try:
        ended = made.supervisor.run(ready)
    except CommandError:
        _remove_stored(made.shared)  # nothing ran
        raise
    assert ended is not None
    return ended


def _sum_up(made: _Setup, name: str, ended: CommandExit) -> CommandExit:
    """Print the last lines. Returns how to end: as COMMAND did, unless only its budgets were exceeded."""
    shared = made.shared
    used = read_used(name, ended, shared.slots["process"])
    survivors, demo = find_survivors(os.getpid()), shared.config.gpu == "demo"
    line = summarize(name, ended, used, shared.slots[GPU], survivors=survivors, demo=demo)
    unseen = shared.kept_run is not None and kept.has_store(shared.kept_run) and not shared.config.report
    _print_line(f"{line} (prom-probe report @last)" if unseen else line)
    lines, exceeded = compare_with_budgets(shared.config.budget, ended, used)
    for line in lines:
        _print_line(line)
    return ended._replace(status=OVER_BUDGET) if exceeded and not ended.status else ended


def _report(shared: Shared, inherited: Inheritance) -> None:
    """Write the report that was asked for."""
    if shared.config.report and shared.storage_path:
        write_report(shared.config.report, shared.storage_path, inherited.blocked, shared.log)
    if shared.unkept_run is not None:
        kept.remove(shared.unkept_run)


def _remove_stored(shared: Shared) -> None:
    for path in (shared.kept_run, shared.unkept_run):
        if path is not None:
            kept.remove(path)


def _prepare(config: Config, source: SettingsSource, argv: tuple[str, ...], inherited: Inheritance, log: Log) -> _Setup:
    """Everything up to the first worker; COMMAND's process waits. Nothing is left if this raises."""
    for flag, value in (("budget", config.budget), ("report", config.report)):
        if value and not argv:
            raise ConfigError(f"--{flag} needs a COMMAND")
    preflight.check(config, log, with_command=bool(argv))
    tls = preflight.has_tls(config)
    shared = Shared(config, log, source)
    shared.tls = tls
    command: Command | None = None
    try:
        for api, addresses in ((False, config.web_listen_address), (True, config.api_listen_address)):
            for address in addresses:
                shared.listeners += listen_somehow(address, api, log) if argv else [listen(address, api)]
        if argv:
            adopt_orphans()
            command = Command(argv, inherited, log, shared.board.note_canary)
            shared.kept_run = kept.maybe_begin(config, argv, log)
            if config.report and not shared.storage_path:
                shared.unkept_run = kept.maybe_begin_unkept(log)
        load_probes()
        choose_watches(shared, command)
        shared.argv = argv
        gc.collect()
        trim_heap()  # what the start has freed would be a part of every worker
        gc.freeze()  # the workers share these pages; a collection would copy them
        workers = [_probe_worker(shared, name, kind) for name, kind in PROBES.items()]
        supervisor = Supervisor(
            [*workers, *_storing_workers(shared)],
            shared.board,
            SystemKernel(log, inherited.blocked, shared.board.failed),
            log=log,
            collect_now=partial(_collect_now, shared, command),
            listeners=shared.listeners,
            command=command,
            linger_s=config.run_linger,
            reload=Reload(shared, command),
            reload_bell=shared.reload_bell,
            watchdog=shared.watchdog,
            told=ToldAggregator(shared.supervisor_ring, shared.bell),
        )
        return _Setup(shared, supervisor, command)
    except BaseException:
        if command is not None:
            command.abandon()
        _remove_stored(shared)
        for listener in shared.listeners:
            close(listener)
        raise


def run_or_explain(
    config: Config, source: SettingsSource, argv: tuple[str, ...], blocked: frozenset[int] = frozenset()
) -> int:
    """The same, but an error is one line and its exit status. Ends as COMMAND did if a signal killed it.

    `blocked`: see `take_inheritance`; every signal is blocked.
    """
    inherited = take_inheritance(blocked)
    try:
        ended = run(config, source, argv, inherited)
    except (CommandError, ConfigError) as error:
        _print_line(printable(f"prom-probe: {error}"))
        return error.status
    if ended is None:
        return 0
    if ended.killed_by:
        die_of(ended.killed_by)
    return ended.status


def _probe_worker(shared: Shared, name: str, kind: ProbeKind) -> Worker:
    return Worker(
        name,
        partial(run_scraper if name == SCRAPE else run_probe, shared, name),
        wanted=lambda: kind.enabled(shared.config) and kind.wanted(shared.config),
        grace_s=kind.grace_s,
        max_crashes=kind.max_crashes,
    )


def _storing_workers(shared: Shared) -> list[Worker]:
    """The sender, and the aggregator that it reads from, which ends after it."""
    sender = Worker(
        SENDER,
        partial(run_sender, shared),
        wanted=lambda: bool(shared.config.destinations),
        grace_s=shared.config.remote_write_flush_timeout + GRACE_S,
        stage=SENDER_STAGE,
        finish=lambda seconds: partial(run_sender, shared, flush_s=seconds),
    )
    return [sender, Worker(AGGREGATOR, partial(run_aggregator, shared), stage=LAST_STAGE)]


def _log_addresses(shared: Shared) -> None:
    for listener in shared.listeners:
        shared.log("info", "listening", serves="api" if listener.api else "metrics", url=shared.url(listener))


def _collect_now(shared: Shared, command: Command | None, deadline_s: float) -> None:
    """Have every probe that runs collect once more, and wait for that until `deadline_s`; targets are not scraped."""
    if command is not None:
        shared.board.note_peak(command.peak_bytes())
    waiting = {}
    for row in shared.board.rows():
        if row.pid and row.name in PROBES and row.name != SCRAPE:
            waiting[row.name] = ring_cells(shared.rings[row.name])[BEATS]
            shared.wakes[row.name].ring()
    while waiting and time.monotonic() < deadline_s:
        time.sleep(0.001)
        waiting = {name: n for name, n in waiting.items() if ring_cells(shared.rings[name])[BEATS] == n}


def _print_line(text: str) -> None:
    write_line(2, f"{text}\n".encode(errors="backslashreplace"), _PATIENCE_S)


def main() -> None:
    """Run with the settings that `become_sidecar` left in a pipe."""
    fill_standard_streams()
    given = take(int(sys.argv[1]))
    argv = tuple(sys.argv[len(sys.argv) - given.arguments :])
    # Not sys.exit: with PYTHONINSPECT in the environment, which is COMMAND's, Python would go on with a prompt.
    os._exit(run_or_explain(given.config, given.source, argv, given.blocked))


if __name__ == "__main__":
    main()
