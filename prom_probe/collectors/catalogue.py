"""All metrics of the collectors, in one tuple, for docs and tests. No collector imports it."""

from prom_probe.collectors.cgroup import families as cgroup
from prom_probe.collectors.gpu import families as gpu
from prom_probe.collectors.process import columns as process
from prom_probe.collectors.scrape import families as scrape
from prom_probe.collectors.system import families as system
from prom_probe.collectors.workers import families as workers
from prom_probe.model.definition import DROPPED_DEVICES, ODD_ROWS, READABLE, Definition

DEFINITIONS: tuple[Definition, ...] = (
    *process.DEFINITIONS,
    *cgroup.DEFINITIONS,
    *system.DEFINITIONS,
    *workers.DEFINITIONS,
    *gpu.DEFINITIONS,
    *scrape.DEFINITIONS,
    READABLE,
    ODD_ROWS,
    DROPPED_DEVICES,
)
