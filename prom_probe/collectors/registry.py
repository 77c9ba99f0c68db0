"""The one table of collectors."""

import os
from collections.abc import Callable

from prom_probe.collectors.base import Collector, Context


def _has_procfs(context: Context) -> bool:
    return os.path.isdir(context.procfs)


def _process(context: Context) -> Collector:
    if not _has_procfs(context):
        from prom_probe.collectors.psutil_process import PsutilProcessCollector

        return PsutilProcessCollector(context)
    from prom_probe.collectors.process import ProcessCollector

    return ProcessCollector(context)


def _system(context: Context) -> Collector:
    if not _has_procfs(context):
        from prom_probe.collectors.psutil_system import PsutilSystemCollector

        return PsutilSystemCollector(context)
    from prom_probe.collectors.system import SystemCollector

    return SystemCollector(context)


def _cgroup(context: Context) -> Collector:
    from prom_probe.collectors.cgroup import CgroupCollector

    return CgroupCollector(context)


def _workers(context: Context) -> Collector:
    from prom_probe.collectors.workers import WorkersCollector

    return WorkersCollector(context)


def _gpu(context: Context) -> Collector:
    from prom_probe.collectors.gpu import GpuCollector

    return GpuCollector(context)


# Each imports what it needs when it is made: a worker pays for its own collectors alone.
COLLECTORS: dict[str, Callable[[Context], Collector]] = {
    "process": _process,
    "cgroup": _cgroup,  # in one worker with "process" and with the same context, after it
    "system": _system,
    "workers": _workers,
    "gpu": _gpu,
}
