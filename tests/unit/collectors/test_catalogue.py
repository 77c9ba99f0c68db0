"""The catalogue of metrics: complete, named as Prometheus names things, and true of what collectors send."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from prom_probe.collectors.base import Context, WorkerState
from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.collectors.cgroup import families as cgroup_families
from prom_probe.collectors.gpu import families as gpu_families
from prom_probe.collectors.process import families as process_families
from prom_probe.collectors.registry import COLLECTORS
from prom_probe.collectors.system import families as system_families
from prom_probe.collectors.workers import families as workers_families
from prom_probe.model.definition import Definition
from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.watch import Watch
from tests.support.paths import FIXTURES, ROOT
from tests.support.statvfs import statvfs

BY_NAME = {definition.family.name: definition for definition in DEFINITIONS}
# What the demonstration's GPUs do not have; the tests of the sources show these.
NOT_IN_DEMO = {
    "gpu_suspended",
    "gpu_errors_total",
    "gpu_xid_errors_total",
    "gpu_mig_memory_total_bytes",
    "gpu_mig_memory_used_bytes",
    "gpu_mig_info",
    "proctree_gpu_engine_seconds_total",
    "gpu_process_engine_seconds_total",
}
# There is none on a sound and small machine.
NOT_IN_DEMO |= {"prom_probe_worker_stuck", "prom_probe_source_odd_rows_total", "prom_probe_dropped_devices"}
# They show what other processes measure, and import no collector.
READ_BY_NAME = [
    ROOT / "prom_probe" / room for room in ("cli", "cli/report", "cli/top", "web/page", "web/api", "history")
]
PREFIXES = ("proctree_", "cgroup_", "system_", "gpu_", "prom_probe_")
UNITS = {"": "", "seconds": "_seconds", "bytes": "_bytes", "hertz": "_hertz", "celsius": "_celsius"}
UNITS |= {"ratio": "_ratio", "watts": "_watts", "joules": "_joules"}


def test_each_family_is_there_once() -> None:
    """Everything that the tables declare."""
    assert len(BY_NAME) == len(DEFINITIONS)
    declared = {
        value.family.name
        for module in (process_families, system_families, workers_families, cgroup_families, gpu_families)
        for value in vars(module).values()
        if isinstance(value, Definition)
    }
    assert declared <= BY_NAME.keys()


def test_a_search_for_a_name_finds_its_definition() -> None:
    """Each name of docs/metrics.md is a literal once in a table, and elsewhere only where it is read by name."""
    names = Counter(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert len(names) > len(DEFINITIONS)
    defined: Counter[str] = Counter()
    for path in (ROOT / "prom_probe").rglob("*.py"):
        found = Counter(
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
        )
        if path.name.endswith(("families.py", "definition.py")):
            defined += found
        else:
            assert not found or path.parent in READ_BY_NAME, f"{path} spells out {sorted(found)}"
    assert defined == names


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.family.name)
def test_a_family_is_well_named_and_defined(definition: Definition) -> None:
    """Base units, _total for counters alone, a help that is a sentence, a source and a definition."""
    family = definition.family
    assert family.name.startswith(PREFIXES)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
    assert family.name.endswith("_total") == (family.type == "counter")
    assert family.name.removesuffix("_total").endswith(UNITS[family.unit])
    for text in (family.help, definition.definition):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".")
        assert "\n" not in text
    assert definition.source
    assert definition.platforms in ("Linux", "Linux, macOS", "all")
    assert len(set(definition.labels)) == len(definition.labels)


def test_what_collectors_send_is_what_the_catalogue_says() -> None:
    """Families, and the names of the labels of each series."""
    told: list[bytes] = []
    context = Context(
        watches=(Watch("web", "comm", "gunicorn: maste"),),
        procfs=str(FIXTURES / "host" / "proc"),
        sysfs=str(FIXTURES / "host" / "sys"),
        statvfs=statvfs,
        patience_s=10.0,
        read_workers=lambda: [WorkerState("process", 901, True, 2)],
        cmdline=True,
        context_switches=True,
        pss_interval_s=1.0,
        gpu="demo",
    )
    context.publish_members = told.append
    context.read_members = lambda: told[-1]
    seen = set()
    for make in COLLECTORS.values():
        collector = make(context)
        for _ in range(3):
            collector.collect()
        for column in collector.layout.columns:
            definition = BY_NAME[column.family.name]
            assert definition.family is column.family
            labels = {name for name, _ in column.labels if name != METRIC_NAME}
            assert labels | {"cmdline"} == {*definition.labels, "cmdline"}, column.family.name  # a zombie has none
            seen.add(column.family.name)
        collector.close()
    elsewhere = ("cgroup_", "prom_probe_target_")  # test_collectors_cgroup.py, test_collectors_scrape.py
    assert {name for name in BY_NAME if not name.startswith(elsewhere)} - NOT_IN_DEMO <= seen
