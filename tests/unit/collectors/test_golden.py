"""All collectors on a recorded machine, series by series: tests/fixtures/host against tests/fixtures/host.golden.

`make golden` writes it anew.
"""

from __future__ import annotations

from prom_probe.collectors.base import Context, WorkerState
from prom_probe.collectors.registry import COLLECTORS
from prom_probe.model.family import Column
from prom_probe.model.layout import Layout
from prom_probe.model.sample import is_stale
from prom_probe.model.watch import Watch
from tests.support import golden
from tests.support.collector_harness import values
from tests.support.paths import FIXTURES
from tests.support.statvfs import statvfs

WATCHES = (
    Watch("web", "comm", "gunicorn: maste"),
    Watch("odd", "cmdline", "./two\nlines --flag"),
    Watch("none", "comm", "nothing-like-it"),
)


def render() -> str:
    """A line a series, sorted, with what it is and whether /metrics shows it."""
    host = FIXTURES / "host"
    context = Context(
        watches=WATCHES,
        procfs=str(host / "proc"),
        own_procfs=str(host / "proc"),
        sysfs=str(host / "sys"),
        cgroupfs=str(host / "cgroup"),
        read_workers=lambda: [WorkerState("process", 901, True, 2), WorkerState("system", 0, False, 7)],
        monotonic=lambda: 1000.0,
        boot_time=lambda: 1_700_000_000.0,
        wall=lambda: 1_700_002_000.5,
        statvfs=statvfs,
        supervisor_pid=lambda: 1,
        online_cpus=lambda: 4,
        allowed_cpus=lambda: 4,
        patience_s=10.0,
        ticks_per_s=100,
        page_bytes=4096,
    )
    lines = []
    for name in ("process", "system", "workers"):
        collector = COLLECTORS[name](context)
        for _ in range(3):
            collector.collect()
        for column, (series, value) in zip(_present(collector.layout), values(collector).items(), strict=True):
            local = "" if column.exposed else " local"
            lines.append(f"{series} {value!r} {column.family.type}{local}\n")
        collector.close()
    return "".join(sorted(lines))


def _present(layout: Layout) -> list[Column]:
    return [c for c, value in zip(layout.columns, layout.row, strict=True) if not is_stale(value)]


def test_the_collectors_read_a_recorded_machine() -> None:
    """Every series, its value, its type."""
    golden.check("host.golden", render())
