"""What the collectors are given: the trees to watch, the settings that concern them, our own processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.model.watch import Watch
from prom_probe.run.command import Command
from prom_probe.run.preflight import check_procfs
from prom_probe.run.probes import PROBES
from prom_probe.run.shared import Shared
from prom_probe.run.watchdog import read_stuck

if TYPE_CHECKING:
    from prom_probe.collectors.base import Context

# How long `once` waits for a GPU driver.
_ONCE_PATIENCE_S = 10.0


def choose_watches(shared: Shared, command: Command | None) -> None:
    """Set what is watched: COMMAND and the trees of --watch; with neither, the other containers of the pod."""
    from prom_probe.sources.container import in_container, in_shared_pid_namespace

    procfs = shared.config.path_procfs
    shared.watches = shared.config.watch
    if command is not None:
        shared.watches = (Watch(command.name, "pid", str(command.pid)), *shared.watches)
    elif not shared.watches and in_shared_pid_namespace(procfs):
        shared.watches = (Watch("", "containers", ""),)
    elif not shared.watches:
        shared.log("info", "neither --watch nor a COMMAND: only the system is sampled")
    shared.exposed_system = shared.config.expose_system or not in_container(procfs)
    shared.shows_cmdline = shared.config.collect_cmdline == "on" or (
        shared.config.collect_cmdline == "auto" and command is not None
    )


def collector_context(shared: Shared, log: Log) -> Context:
    """The context of every collector of a worker."""
    from prom_probe.collectors.base import Context, WorkerState

    config, board = shared.config, shared.board
    return Context(
        procfs=config.path_procfs,
        priority=config.collect_priority,
        sysfs=config.path_sysfs,
        cgroupfs=config.path_cgroupfs,
        watches=shared.watches,
        own_pids=_own_pids(shared),
        read_workers=lambda: [
            WorkerState(row.name, row.pid, bool(row.pid), row.restarts, row.name in PROBES)
            for row in board.rows()
            if row.started_ns
        ],
        expose_system=shared.exposed_system,
        expose_per_process=config.expose_per_process,
        max_processes=config.collect_max_processes,
        cmdline=shared.shows_cmdline,
        command_peak=lambda: (shared.watches[0].name if shared.watches else "", board.peak_bytes),
        context_switches=config.collect_context_switches,
        pss_interval_s=config.collect_pss_interval,
        pss_max_rss_bytes=config.collect_pss_max_rss,
        max_window_s=config.expose_max_window,
        hold_s=config.expose_max_window,
        log=log,
        read_stuck=partial(_read_stuck, shared),
        publish_members=lambda members: None if config.gpu == "off" else _tell(shared, members),
        read_members=shared.members.read,
        gpu=config.gpu,
    )


def _read_stuck(shared: Shared) -> list[tuple[str, str]]:
    left_out = [(file.worker, file.source) for file in read_stuck(shared.stuck, time.monotonic())]
    return [*left_out, *shared.watchdog.unanswered()]


def once_context(config: Config, log: Log) -> Context:
    """The context for collecting in this process, without workers. ConfigError if there is no procfs to read."""
    check_procfs(config)
    shared = Shared(config, log)
    choose_watches(shared, None)
    context = collector_context(shared, log)
    context.gpu_patience_s = _ONCE_PATIENCE_S
    return context


def _own_pids(shared: Shared) -> Callable[[], list[int]]:
    """Our processes as `--path.procfs` numbers them; none if it is of another PID namespace, or no procfs at all."""
    try:
        if os.readlink(os.path.join(shared.config.path_procfs, "self")) != str(os.getpid()):
            return list
    except OSError:
        return list
    board = shared.board

    def pids() -> list[int]:
        # Not 0, which stands for none: it is the parent of the first process of every other container of a pod.
        return [pid for pid in (shared.supervisor_pid, board.canary_pid, *(row.pid for row in board.rows())) if pid]

    return pids


def _tell(shared: Shared, members: bytes) -> None:
    shared.members.write(members)  # a value that is too long leaves the old one in place
