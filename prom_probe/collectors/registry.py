"""The table of collectors."""

import os
from collections.abc import Callable

from prom_probe.collectors.base import Collector, Context


def _has_procfs(context: Context) -> bool:
    return os.path.isdir(context.procfs)


def _process(context: Context) -> Collector:
    if not _has_procfs(context):
        from prom_probe.collectors.process.psutil_collector import PsutilProcessCollector

        return PsutilProcessCollector(context)
    from prom_probe.collectors.process.collector import ProcessCollector

    return ProcessCollector(context)


def _system(context: Context) -> Collector:
    if not _has_procfs(context):
        from prom_probe.collectors.system.psutil_collector import PsutilSystemCollector

        return PsutilSystemCollector(context)
    from prom_probe.collectors.system.collector import SystemCollector

    return SystemCollector(context)


def _cgroup(context: Context) -> Collector:
    from prom_probe.collectors.cgroup.collector import CgroupCollector

    return CgroupCollector(context)


def _workers(context: Context) -> Collector:
    from prom_probe.collectors.workers.collector import WorkersCollector

    return WorkersCollector(context)


def _gpu(context: Context) -> Collector:
    from prom_probe.collectors.gpu.collector import GpuCollector

    return GpuCollector(context)


# Each function imports its collector when it is called, so that a worker loads only its own.
COLLECTORS: dict[str, Callable[[Context], Collector]] = {
    "process": _process,
    "cgroup": _cgroup,  # in one worker with "process" and with the same context, after it
    "system": _system,
    "workers": _workers,
    "gpu": _gpu,
}
