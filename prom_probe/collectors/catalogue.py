"""All metrics of the collectors, in one tuple: what docs and tests go by. No collector needs it."""

from prom_probe.collectors import cgroup_families, process_families, system_families, workers_families
from prom_probe.collectors.definition import READABLE, Definition

_process, _system, _workers = process_families, system_families, workers_families

DEFINITIONS: tuple[Definition, ...] = (
    _process.PROCESSES,
    _process.THREADS,
    _process.CPU,
    _process.RESIDENT,
    _process.VIRTUAL,
    _process.OPEN_FDS,
    _process.IO_READ,
    _process.IO_WRITE,
    _process.START_TIME,
    _process.PROCESS_CPU,
    _process.PROCESS_THREADS,
    _process.PROCESS_RESIDENT,
    _process.PROCESS_VIRTUAL,
    _process.PROCESS_OPEN_FDS,
    _process.PROCESS_IO_READ,
    _process.PROCESS_IO_WRITE,
    _process.PROCESS_START_TIME,
    *cgroup_families.FAMILIES.values(),
    _system.CPU,
    _system.CPUS,
    _system.CPUS_EFFECTIVE,
    *_system.LOADS,
    *_system.MEMORY.values(),
    _system.BOOT_TIME,
    _system.CONTEXT_SWITCHES,
    _system.INTERRUPTS,
    _system.FORKS,
    _system.RUNNING,
    _system.BLOCKED,
    *(definition for _, definitions in _system.PRESSURE for definition in definitions),
    *_system.NETWORK,
    *(definition for _, _, definition in _system.DISK),
    _workers.UP,
    _workers.RESTARTS,
    _workers.CPU,
    _workers.RESIDENT,
    _workers.START_TIME,
    READABLE,
)
