"""The table of GPU sources, and which of them a machine needs."""

from collections.abc import Callable, Collection

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.source import GpuSource
from prom_probe.sources.gpu_detect import detect_gpus


def _demo(context: Context) -> GpuSource:
    from prom_probe.collectors.gpu.demo import DemoSource

    return DemoSource(context.monotonic)


def _nvidia(context: Context) -> GpuSource:
    from prom_probe.collectors.gpu.nvidia import NvidiaSource

    return NvidiaSource()


def _drm(vendor: str) -> Callable[[Context], GpuSource]:
    def make(context: Context) -> GpuSource:
        from prom_probe.collectors.gpu.drm import DrmSource

        return DrmSource(vendor, context)

    return make


# Each function imports its source's module when it is called.
SOURCES: dict[str, Callable[[Context], GpuSource]] = {
    "nvidia": _nvidia,
    "amd": _drm("amd"),
    "intel": _drm("intel"),
    "drm": _drm("drm"),
    "demo": _demo,
}


def make_sources(context: Context, have: Collection[str]) -> list[GpuSource]:
    """The sources that `--gpu` names or detection finds, without those that exist already (`have`)."""
    wanted = detect_gpus(context.procfs, context.sysfs) if context.gpu == "auto" else {context.gpu}
    return [make(context) for name, make in SOURCES.items() if name in wanted and name not in have]
