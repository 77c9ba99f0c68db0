"""The table of probe workers: what each collects, how often, and when there is work for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prom_probe.config.planned_target import plan_targets
from prom_probe.config.settings import Config
from prom_probe.run.supervisor import GRACE_S
from prom_probe.sources.gpu_detect import detect_gpus

GPU = "gpu"
SCRAPE = "scrape"

# Longer than for others: a SIGKILL in the middle of a driver's call can cost the GPU.
GPU_GRACE_S = 10.0


class ProbeKind(NamedTuple):
    """A probe worker: its collectors, its (longest) interval in seconds, its ring's size.

    `grace_s` and `max_crashes`: see `Worker`.
    """

    collectors: tuple[str, ...]
    interval: Callable[[Config], float]
    ring_bytes: Callable[[Config], int]
    # Whether the settings ask for it. Until they do, no memory is made for it.
    enabled: Callable[[Config], bool] = lambda config: True
    # Whether this machine has anything for it to do: checked before each start, and every minute while it does not run.
    wanted: Callable[[Config], bool] = lambda config: True
    grace_s: float = GRACE_S
    max_crashes: int = 0


def _process_ring_bytes(config: Config) -> int:
    """A frame may fill a quarter of the ring: room for a row with as many columns as the store has series."""
    return 4 * (8 * config.storage_tsdb_max_series + 1024)


def _scrape_ring_bytes(config: Config) -> int:
    """Room for a target's row: at most two columns for each sample, and a few hundred more."""
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
    GPU: ProbeKind(
        ("gpu",),
        lambda c: c.interval_gpu or c.interval,
        lambda c: 256 << 10,
        wanted=wants_gpu,
        grace_s=GPU_GRACE_S,
        max_crashes=3,
    ),
    # It has a collector for each target: see `collector_names`.
    SCRAPE: ProbeKind(
        (),
        lambda c: max((target.interval_s for target in plan_targets(c)), default=c.interval),
        _scrape_ring_bytes,
        enabled=lambda c: bool(plan_targets(c)),
    ),
}


def enabled_probes(config: Config) -> dict[str, ProbeKind]:
    """The rows of PROBES that the settings ask for."""
    return {name: kind for name, kind in PROBES.items() if kind.enabled(config)}


def collector_names(name: str, config: Config) -> tuple[str, ...]:
    """The names of a probe worker's collectors."""
    return tuple(target.collector for target in plan_targets(config)) if name == SCRAPE else PROBES[name].collectors


def active_collectors(config: Config) -> list[str]:
    """The names of all collectors that run on this machine with these settings, in the table's order."""
    active = (name for name, kind in enabled_probes(config).items() if kind.wanted(config))
    return [collector for name in active for collector in collector_names(name, config)]


def collector_intervals(config: Config) -> dict[str, dict[str, float]]:
    """Seconds between two collections: by probe, by collector."""
    found = {
        name: dict.fromkeys(collector_names(name, config), kind.interval(config))
        for name, kind in enabled_probes(config).items()
    }
    if SCRAPE in found:
        found[SCRAPE] = {target.collector: target.interval_s for target in plan_targets(config)}
    return found
