"""All metrics of the collectors, in one tuple: what docs and tests go by. No collector needs it."""

from prom_probe.collectors.cgroup import families as cgroup_families
from prom_probe.collectors.gpu import families as gpu_families
from prom_probe.collectors.process import columns as process_columns
from prom_probe.collectors.scrape.families import FAILURES, UNEXPOSED
from prom_probe.collectors.system import families as system_families
from prom_probe.collectors.workers import families as workers_families
from prom_probe.model.definition import READABLE, Definition

_system, _workers = system_families, workers_families

DEFINITIONS: tuple[Definition, ...] = (
    *process_columns.DEFINITIONS,
    *cgroup_families.FAMILIES.values(),
    *cgroup_families.IO_DEVICE.values(),
    _system.CPU,
    _system.CPUS,
    _system.CPUS_EFFECTIVE,
    *_system.FREQUENCIES,
    _system.TEMPERATURE,
    *_system.LOADS,
    _system.THREADS,
    *_system.MEMORY.values(),
    _system.TIME,
    _system.BOOT_TIME,
    _system.CONTEXT_SWITCHES,
    _system.INTERRUPTS,
    _system.FORKS,
    _system.RUNNING,
    _system.BLOCKED,
    *(definition for _, definitions in _system.PRESSURE for definition in definitions),
    *(definition for _, definition in _system.VMSTAT.values()),
    *_system.NETWORK,
    *_system.SOCKETS,
    _system.CONNTRACK,
    _system.CONNTRACK_LIMIT,
    *(definition for _, _, definition in _system.DISK),
    *_system.FILESYSTEM,
    _system.OPEN_FILES,
    _system.OPEN_FILES_LIMIT,
    _system.ENTROPY,
    _workers.UP,
    _workers.RESTARTS,
    _workers.CPU,
    _workers.RESIDENT,
    _workers.PRIORITY,
    _workers.START_TIME,
    *gpu_families.DEFINITIONS,
    FAILURES,
    UNEXPOSED,
    READABLE,
)
