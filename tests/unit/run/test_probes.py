"""The table of probes: which of them the settings enable, at which interval, with which ring."""

from __future__ import annotations

import pytest

from prom_probe.collectors.registry import COLLECTORS
from prom_probe.config.settings import Config
from prom_probe.config.sources import make_config
from prom_probe.run.probes import PROBES, active_collectors, collector_intervals, enabled_probes, wants_gpu


def test_every_collector_of_the_table_exists() -> None:
    """The scrape worker's are made from the targets."""
    assert {name for kind in PROBES.values() for name in kind.collectors} <= COLLECTORS.keys()


def test_scraping_is_enabled_by_its_targets() -> None:
    """The other probes always are."""
    assert set(enabled_probes(Config())) == set(PROBES) - {"scrape"}
    assert set(enabled_probes(make_config({"scrape": "a=http://h"}, {}))) == set(PROBES)


def test_intervals_are_by_probe_and_collector() -> None:
    """A probe's own, or the common one."""
    config = make_config(
        {"interval": "2s", "interval.system": "3s", "scrape": ["a=http://h", "b=http://h"], "interval.scrape": "5s"}, {}
    )
    assert collector_intervals(config) == {
        "process": {"process": 2, "cgroup": 2, "workers": 2},
        "system": {"system": 3},
        "gpu": {"gpu": 2},
        "scrape": {"scrape:a": 5, "scrape:b": 5},
    }


def test_active_collectors_are_those_of_probes_that_have_work_here() -> None:
    """A GPU that is asked for, targets by their names; neither where there is none."""
    assert active_collectors(make_config({"gpu": "off"}, {})) == ["process", "cgroup", "workers", "system"]
    config = make_config({"gpu": "demo", "scrape": "a=http://h"}, {})
    assert active_collectors(config) == ["process", "cgroup", "workers", "system", "gpu", "scrape:a"]


@pytest.mark.parametrize(("max_series", "sample_limit"), [("1", "1"), ("10000", "10000"), ("100000", "1000000")])
def test_a_ring_has_room_for_the_largest_row(max_series: str, sample_limit: str) -> None:
    """A frame may fill a quarter of it, and a value has eight bytes."""
    config = make_config({"storage.tsdb.max-series": max_series, "scrape.sample-limit": sample_limit}, {})
    assert PROBES["process"].ring_bytes(config) // 4 > 8 * int(max_series)
    assert PROBES["scrape"].ring_bytes(config) // 4 > 8 * 2 * int(sample_limit)


@pytest.mark.parametrize(("kind", "wanted"), [("off", False), ("nvidia", True), ("demo", True), ("auto", False)])
def test_a_gpu_worker_is_wanted_where_there_is_something_for_it(kind: str, wanted: bool) -> None:
    """`auto` looks for files, and finds none here."""
    assert wants_gpu(make_config({"gpu": kind, "path.procfs": "/none", "path.sysfs": "/none"}, {})) == wanted
