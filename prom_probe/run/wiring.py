"""What runs in which process: builds the shared memory, and the inside of each worker after its fork."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource
from prom_probe.config.units import format_duration, human_size
from prom_probe.log import Log
from prom_probe.model.watch import Watch
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import BEATS, begin_ring, reserve_ring, ring_cells
from prom_probe.ring.slot import Slot
from prom_probe.run.board import Board
from prom_probe.run.command import Command, Ended
from prom_probe.run.listening import Listener, close, listen
from prom_probe.run.reload import Board as ReloadBoard
from prom_probe.run.reload import concerns_probes, in_child, merge, read_anew
from prom_probe.run.supervisor import GRACE_S, Supervisor, Worker
from prom_probe.sources.gpu_detect import detect_gpus

if TYPE_CHECKING:
    from prom_probe.collectors.base import Context

AGGREGATOR = "aggregator"
GPU = "gpu"
SCRAPE = "scrape"

_SLOT_BYTES = 256 << 10
_MEMBERS_BYTES = 256 << 10  # 50,000 members

# How long `once` waits for a driver.
_ONCE_PATIENCE_S = 10.0

# How long the GPU worker may take to end.
GPU_GRACE_S = 10.0


class ProbeKind(NamedTuple):
    """A probe worker: its collectors, where its interval stands, its ring's size, and whether it is asked for.

    `grace_s` and `most_crashes`: see `Worker`.
    """

    collectors: tuple[str, ...]
    interval: Callable[[Config], float]
    ring_bytes: Callable[[Config], int]
    # Whether there is anything for it to do: asked before each start, and once a minute while it does not run.
    wanted: Callable[[Config], bool] = lambda config: True
    grace_s: float = GRACE_S
    most_crashes: int = 0
    # Whether the settings ask for it; until they do, nothing is made for it.
    asked: Callable[[Config], bool] = lambda config: True


def _process_ring_bytes(config: Config) -> int:
    """Room for a row with as many columns as the store takes series: a frame may fill a quarter of the ring."""
    return 4 * (8 * config.storage_tsdb_max_series + 1024)


def _scrape_ring_bytes(config: Config) -> int:
    """Room for a target's row, which has at most twice as many columns as samples, and some hundred."""
    return 4 * 8 * (2 * config.scrape_sample_limit + 1024)


def wants_gpu(config: Config) -> bool:
    """Whether there is anything for the GPU worker to do."""
    if config.gpu != "auto":
        return config.gpu != "off"
    return bool(detect_gpus(config.path_procfs, config.path_sysfs))


PROBES = {
    "process": ProbeKind(
        ("process", "cgroup", "workers"), lambda c: c.interval_process or c.interval, _process_ring_bytes
    ),
    "system": ProbeKind(("system",), lambda c: c.interval_system or c.interval, lambda c: 64 << 10),
    # Ended with patience: a SIGKILL in the middle of a driver's call can cost the GPU.
    GPU: ProbeKind(("gpu",), lambda c: c.interval_gpu or c.interval, lambda c: 256 << 10, wants_gpu, GPU_GRACE_S, 3),
    # A collector for each target, see `collector_names`.
    SCRAPE: ProbeKind(
        (), lambda c: c.interval_scrape or c.interval, _scrape_ring_bytes, asked=lambda c: bool(c.scrape)
    ),
}


def asked_probes(config: Config) -> dict[str, ProbeKind]:
    """The rows of PROBES that the settings ask for."""
    return {name: kind for name, kind in PROBES.items() if kind.asked(config)}


def collector_names(name: str, config: Config) -> tuple[str, ...]:
    """The collectors of a worker."""
    return tuple(f"scrape:{target.name}" for target in config.scrape) if name == SCRAPE else PROBES[name].collectors


class Shared:
    """What the supervisor makes before it forks: every process has these by inheritance."""

    def __init__(self, config: Config, log: Log, source: SettingsSource | None = None) -> None:
        self.config = config
        self.source = source or SettingsSource({})
        self.log = log
        self.reload_bell = Doorbell()
        self.reloads = ReloadBoard()
        self.started_s = time.monotonic()
        self.supervisor_pid = os.getpid()
        self.bell = Doorbell()
        self.rings = {name: reserve_ring(kind.ring_bytes(config)) for name, kind in PROBES.items()}
        self.slots: dict[str, Slot] = {}
        self.wakes: dict[str, Doorbell] = {}
        self.members = Slot(_MEMBERS_BYTES)
        self.board = Board([*PROBES, AGGREGATOR])
        self.make_ready()
        self.listeners: list[Listener] = []
        self.watches: tuple[Watch, ...] = config.watch
        self.exposed_system = True
        self.tls = False

    def make_ready(self) -> None:
        """Make what the probes need that the settings ask for. The rings are there from the beginning, for the
        aggregator's sake, but take no memory before this.
        """
        for name in asked_probes(self.config):
            if name not in self.wakes:
                begin_ring(self.rings[name])
                self.slots[name] = Slot(_SLOT_BYTES)
                self.wakes[name] = Doorbell()


def serve(config: Config, argv: tuple[str, ...], source: SettingsSource | None = None) -> int:
    """`prom-probe run`: the exit status. ConfigError and CommandError where it cannot begin."""
    log = Log(config.log_level, config.log_format, "supervisor")
    _check_procfs(config)
    _check_storage(config)
    _check_receiver(config)
    tls = has_tls(config)
    _load_probes()
    shared = Shared(config, log, source)
    shared.tls = tls
    try:
        shared.listeners += [listen(address, api=False) for address in config.web_listen_address]
        shared.listeners += [listen(address, api=True) for address in config.api_listen_address]
        started = time.monotonic()
        command = Command(argv) if argv else None
        _choose_watches(shared, command)
        _announce(shared)
        workers = [_worker(shared, name, kind) for name, kind in PROBES.items()]
        workers.append(Worker(AGGREGATOR, partial(_run_aggregator, shared)))
        supervisor = Supervisor(
            workers,
            shared.board,
            log=log,
            collect_now=partial(_collect_now, shared),
            listeners=shared.listeners,
            command=command,
            linger_s=config.run_linger,
            reload=partial(_reload, shared, command),
            reload_bell=shared.reload_bell,
        )
        ended = supervisor.run()
        if command is None or ended is None:
            return 0
        _print_summary(shared, command, ended, time.monotonic() - started)
        return ended.status
    finally:
        for listener in shared.listeners:
            close(listener)


def _worker(shared: Shared, name: str, kind: ProbeKind) -> Worker:
    return Worker(
        name,
        partial(_run_scraper if name == SCRAPE else _run_probe, shared, name),
        wanted=lambda: kind.asked(shared.config) and kind.wanted(shared.config),
        grace_s=kind.grace_s,
        most_crashes=kind.most_crashes,
    )


def _reload(shared: Shared, command: Command | None) -> list[str]:
    """Read the settings anew and tell the aggregator; gives the probes that are to begin again."""
    before = shared.config
    try:
        wanted = read_anew(shared.source)
    except ConfigError as error:
        shared.log("error", "settings are not reloaded, the old ones stay in force", error=str(error))
        shared.reloads.publish(before, str(error))
    else:
        shared.config, waiting = merge(before, wanted)
        if waiting:
            shared.log("warn", "these settings change with the next start only", keys=",".join(waiting))
        shared.log.change(shared.config.log_level, shared.config.log_format)
        if concerns_probes(before, shared.config):
            _choose_watches(shared, command)
        shared.make_ready()
        shared.log("info", "settings reloaded")
        shared.reloads.publish(shared.config)
    for row in shared.board.rows():
        if row.name == AGGREGATOR and row.pid:
            os.kill(row.pid, signal.SIGHUP)
    return list(PROBES) if concerns_probes(before, shared.config) else []


def _load_probes() -> None:
    """Import what probe workers run, so that they share its pages: 1.2 MB less in all than in each after its fork."""
    import prom_probe.collectors.cgroup.collector
    import prom_probe.collectors.process.collector
    import prom_probe.collectors.registry
    import prom_probe.collectors.system.collector
    import prom_probe.collectors.workers.collector
    import prom_probe.probe.loop
    import prom_probe.ring.producer  # noqa: F401


def _check_procfs(config: Config) -> None:
    """ConfigError where the platform has a procfs and it cannot be read."""
    if not os.path.exists("/proc/self/stat") and config.path_procfs == "/proc":
        return  # no Linux: psutil's business
    try:
        with open(os.path.join(config.path_procfs, "stat"), "rb") as stream:
            stream.read(1)
    except OSError as error:
        raise ConfigError(f"cannot read {config.path_procfs}/stat: {error.strerror}", 1) from None


def _check_receiver(config: Config) -> None:
    """ConfigError where remote writes are wanted and what unpacks them is not there."""
    if config.web_enable_remote_write_receiver:
        from importlib.util import find_spec

        if find_spec("cramjam") is None:
            raise ConfigError(
                "--web.enable-remote-write-receiver needs the package cramjam: pip install 'prom-probe[remote]'", 1
            )


def has_tls(config: Config) -> bool:
    """Whether the web configuration has TLS. ConfigError where it cannot be used."""
    path = config.web_config_file
    if path is None:
        return False

    def look() -> bool:
        from prom_probe.web.http.security import check

        return check(path)

    return in_child(look, bool)


def _check_storage(config: Config) -> None:
    """ConfigError where the directory cannot be used: here it is one line, in the aggregator it would be many."""
    if config.storage_tsdb_path is not None:
        from prom_probe.tsdb.disk import folder
        from prom_probe.tsdb.outcome import StorageError

        try:
            folder.check(config.storage_tsdb_path)
        except StorageError as error:
            raise ConfigError(str(error), 1) from None


def _choose_watches(shared: Shared, command: Command | None) -> None:
    from prom_probe.sources.container import in_container, in_shared_pid_namespace

    procfs = shared.config.path_procfs
    shared.watches = shared.config.watch
    if command is not None:
        shared.watches = (Watch(command.name, "pid", str(command.pid)), *shared.watches)
    elif not shared.watches and in_shared_pid_namespace(procfs):
        shared.watches = (Watch("", "containers", ""),)
    elif not shared.watches:
        shared.log("info", "no --watch and no COMMAND: only the system is sampled")
    shared.exposed_system = shared.config.expose_system or not in_container(procfs)


def _announce(shared: Shared) -> None:
    for listener in shared.listeners:
        url = listener.url.replace("http://", "https://", 1) if shared.tls else listener.url
        shared.log("info", "listening", serves="api" if listener.api else "metrics", url=url)


def _collect_now(shared: Shared, deadline_s: float) -> None:
    """Have every living probe collect once more, and wait for it; but for targets, which may take their time."""
    waiting = {}
    for row in shared.board.rows():
        if row.pid and row.name in PROBES and row.name != SCRAPE:
            waiting[row.name] = ring_cells(shared.rings[row.name])[BEATS]
            shared.wakes[row.name].ring()
    while waiting and time.monotonic() < deadline_s:
        time.sleep(0.001)
        waiting = {name: n for name, n in waiting.items() if ring_cells(shared.rings[name])[BEATS] == n}


def _print_summary(shared: Shared, command: Command, ended: Ended, duration_s: float) -> None:
    """What the run was, in one line or two on stderr."""
    from prom_probe.collectors.process.checkpoint import read_summaries

    parts = [ended.text, f"ran {format_duration(round(duration_s, 1))}", f"CPU {ended.cpu_seconds:.2f} s"]
    summary = read_summaries(shared.slots["process"].read()).get(command.name)
    if summary is not None:
        if peak := max(summary.peak_resident_bytes, ended.peak_bytes):
            parts.append(f"peak memory {human_size(peak)}")
        children = max(0, summary.processes_seen - 1)  # seen: what lives between two collections is not
        parts.append(
            f"{children} {'child' if children == 1 else 'children'} seen (at most {summary.peak_processes} at once)"
        )
    if gpu_state := shared.slots[GPU].read():
        from prom_probe.collectors.gpu.checkpoint import read_gpu_peaks

        if gpu_peak := read_gpu_peaks(gpu_state).get(command.name):
            parts.append(f"peak GPU memory {human_size(gpu_peak)}")
    os.write(2, f"prom-probe: {command.name}: {', '.join(parts)}\n".encode(errors="backslashreplace"))


def collector_context(shared: Shared, log: Log) -> Context:
    """What every collector is given."""
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
        context_switches=config.collect_context_switches,
        pss_interval_s=config.collect_pss_interval,
        pss_max_rss_bytes=config.collect_pss_max_rss,
        max_window_s=config.expose_max_window,
        hold_s=config.expose_max_window,
        log=log,
        tell_members=lambda members: None if config.gpu == "off" else _tell(shared, members),
        read_members=shared.members.read,
        gpu=config.gpu,
    )


def _own_pids(shared: Shared) -> Callable[[], list[int]]:
    """Our processes as `--path.procfs` numbers them; none where that is another PID namespace's or no procfs at all."""
    try:
        if os.readlink(os.path.join(shared.config.path_procfs, "self")) != str(os.getpid()):
            return list
    except OSError:
        return list
    return lambda: [shared.supervisor_pid, *(row.pid for row in shared.board.rows() if row.pid)]


def _tell(shared: Shared, members: bytes) -> None:
    shared.members.write(members)  # what is too long for it leaves the old ones


def once_context(config: Config, log: Log) -> Context:
    """The same for a single look from this process, which has no workers."""
    _check_procfs(config)
    shared = Shared(config, log)
    _choose_watches(shared, None)
    context = collector_context(shared, log)
    context.gpu_patience_s = _ONCE_PATIENCE_S
    return context


def _run_probe(shared: Shared, name: str, lifeline: int) -> None:
    """The inside of a probe worker."""
    started_s = time.monotonic()
    from prom_probe.collectors.registry import COLLECTORS
    from prom_probe.probe.loop import Probe
    from prom_probe.ring.producer import Producer

    for listener in shared.listeners:
        listener.sock.close()
    log = shared.log.named(name)
    _set_priority(shared.config.collect_priority, log)
    context = collector_context(shared, log)
    context.wake = shared.wakes[name].ring
    context.started_s = started_s
    kind = PROBES[name]
    probe = Probe(
        [COLLECTORS[collector](context) for collector in kind.collectors],
        kind.interval(shared.config),
        Producer(shared.rings[name], shared.bell),
        shared.slots[name],
        wake=shared.wakes[name],
        lifeline=lifeline,
        log=log,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: probe.stop())
    probe.run()


def _set_priority(priority: str, log: Log) -> None:
    from prom_probe.sources.priority import set_priority

    try:
        set_priority(priority)
    except OSError as error:
        need = "RLIMIT_RTPRIO" if priority == "realtime" else "RLIMIT_NICE"
        log("warn", f"priority {priority} is not given: it needs CAP_SYS_NICE or {need}", error=error.strerror)


def _run_scraper(shared: Shared, name: str, lifeline: int) -> None:
    """The inside of the scrape worker."""
    from prom_probe.probe.scraper import Scraper, SharedProducer, make_collectors

    for listener in shared.listeners:
        listener.sock.close()
    log = shared.log.named(name)
    _set_priority(shared.config.collect_priority, log)
    scraper = Scraper(
        make_collectors(shared.config, log),
        PROBES[name].interval(shared.config),
        SharedProducer(shared.rings[name], shared.bell),
        wake=shared.wakes[name],
        lifeline=lifeline,
        log=log,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: scraper.stop())
    scraper.run()


def _run_aggregator(shared: Shared, lifeline: int) -> None:
    """The inside of the aggregator: one loop that ingests and serves."""
    # asyncio imports ssl where it can: 4 MB for nothing while no TLS is configured.
    if not shared.tls:
        sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    from prom_probe.aggregate.process import aggregate
    from prom_probe.web.http.patience import run

    run(lambda expect: aggregate(shared, lifeline, expect))
