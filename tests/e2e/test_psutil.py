"""The collectors of platforms without /proc, run beside ours on Linux: the same numbers, or no series."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.collectors.process.psutil_collector import PsutilProcessCollector
from prom_probe.collectors.registry import COLLECTORS
from prom_probe.collectors.system.collector import SystemCollector
from prom_probe.collectors.system.psutil_collector import PsutilSystemCollector
from prom_probe.model.watch import Watch
from tests.support.collector_harness import values
from tests.support.processes import burn, child, collect_until, running, sleep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")

# Families that psutil does not have by our definition.
ABSENT = tuple(definition.family.name for definition in DEFINITIONS if definition.platforms == "Linux")

SOURCES = ("prom_probe_source_readable",)


def present(series: dict[str, float]) -> dict[str, float]:
    """Those that both have."""
    return {name: value for name, value in series.items() if name.partition("{")[0] not in (*ABSENT, *SOURCES)}


def same(name: str, value: float, other: dict[str, float]) -> bool:
    """Whether both have it; psutil's boot time is another, to a second, and maxima are of each one's own moments."""
    if name not in other or "start_time" in name:
        return name in other
    return abs(other[name] - value) <= (0.1 * value if "_max" in name.partition("{")[0] else 0.011)


def test_a_tree_has_the_same_numbers() -> None:
    """A root and children that have worked and sleep, one of which ends."""

    def work() -> None:
        for _ in range(3):
            child(lambda: (burn(0.05), sleep()))  # type: ignore[func-returns-value]
        sleep()

    with running(work) as pid:
        context = Context(watches=(Watch("t", "pid", str(pid)),), boot_time=lambda: 1_000_000_000.0)
        ours, theirs = ProcessCollector(context), PsutilProcessCollector(context)
        tree = 'proctree_processes{tree="t"}'
        for _ in range(2000):
            for collector in (ours, theirs):
                collector.collect()
            row = values(ours)
            cpu = [value for name, value in row.items() if name.startswith("proctree_process_cpu")]
            if row.get(tree) == 4 and len(cpu) == 8 and sum(cpu) >= 0.15:
                break
        for _ in range(100):  # the kernel may take pages between the two
            for collector in (ours, theirs):
                collector.collect()
            mine, other = present(values(ours)), values(theirs)
            wrong = {name: (value, other.get(name)) for name, value in mine.items() if not same(name, value, other)}
            if not wrong:
                break
        assert wrong == {}
        assert not any(name.partition("{")[0] in ABSENT for name in other)
        assert mine.keys() == present(other).keys()
        assert len(mine) == 11 + 4 * 7
        ours.close()
        theirs.close()


def test_a_tree_that_ends_ends_there_too() -> None:
    """Its processes' series go, the count is 0."""
    with running(sleep) as pid:
        collector = PsutilProcessCollector(Context(watches=(Watch("t", "pid", str(pid)),)))
        for _ in range(3):
            collector.collect()
        assert values(collector)['proctree_processes{tree="t"}'] == 1
    collector.collect()
    row = values(collector)
    assert row['proctree_processes{tree="t"}'] == 0
    assert not any("process_" in name.removeprefix("prom_probe_") for name in row if "processes" not in name)


def test_a_name_need_not_be_utf_8() -> None:
    """The kernel keeps any bytes; they are shown as \\xNN."""

    def work() -> None:
        Path("/proc/self/comm").write_bytes(b"caf\xe9")
        sleep()

    with running(work) as pid:
        collector = PsutilProcessCollector(Context(watches=(Watch("t", "pid", str(pid)),)))
        collect_until(collector, lambda: any(r'comm="caf\\xe9"' in series for series in values(collector)))
        collector.close()


def test_watches_by_name_and_command_line_work_there_too() -> None:
    """Those by cgroup do not exist there, and are refused."""
    watches = (Watch("a", "cmdline", ".*never-so.*"), Watch("b", "comm", ".*"))
    collector = PsutilProcessCollector(Context(watches=watches))
    collector.collect()
    row = values(collector)
    assert row['proctree_processes{tree="a"}'] == 0
    assert row['proctree_processes{tree="b"}'] >= 1
    with pytest.raises(ValueError, match="watch 'c': there are no cgroup watches on this platform"):
        PsutilProcessCollector(Context(watches=(Watch("c", "cgroup", "/x"),)))


def test_the_system_has_the_same_numbers() -> None:
    """All of psutil's series are among ours; counters have moved on a little meanwhile."""
    ours, theirs = (make(Context(patience_s=10.0)) for make in (SystemCollector, PsutilSystemCollector))
    theirs.collect()
    ours.collect()
    mine, other = values(ours), values(theirs)
    devices = {name for name in other if "device=" in name}
    assert other.keys() - mine.keys() <= devices  # psutil has loops and partitions too
    for name in other.keys() & mine.keys():
        assert other[name] == pytest.approx(mine[name], rel=0.1, abs=10), name
    assert len(other.keys() & mine.keys()) >= 14
    for name, value in other.items():
        if name.startswith("system_filesystem_size") and 'mountpoint="/"' in name:
            assert mine[name] == value


def test_psutil_serves_where_there_is_no_procfs(tmp_path: Path) -> None:
    """And only there."""
    missing = Context(procfs=str(tmp_path / "none"))
    assert type(COLLECTORS["process"](missing)) is PsutilProcessCollector
    assert type(COLLECTORS["system"](missing)) is PsutilSystemCollector
    assert type(COLLECTORS["process"](Context())) is ProcessCollector
