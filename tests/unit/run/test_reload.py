"""Which settings a reload changes, and which workers it replaces."""

from __future__ import annotations

import pytest

from prom_probe.config.settings import Config
from prom_probe.config.sources import make_config
from prom_probe.run.reload import concerns_probes, merge


def test_settings_that_need_a_restart_keep_their_value_and_are_named() -> None:
    """All others take effect."""
    running = make_config({"query.timeout": "5s", "path.procfs": "/a", "run.linger": "1s"}, {})
    wanted = make_config({"query.timeout": "6s", "path.procfs": "/b", "run.linger": "1s"}, {})
    merged, waiting = merge(running, wanted)
    assert (merged.query_timeout, merged.path_procfs, merged.run_linger) == (6, "/a", 1)
    assert waiting == ["path.procfs"]


@pytest.mark.parametrize(
    ("key", "value", "concerned"),
    [
        ("interval", "2s", True),
        ("interval.gpu", "2s", True),
        ("watch", "a=pid:1", True),
        ("collect.max-processes", "7", True),
        ("expose.system", "true", True),
        ("gpu", "off", True),
        ("scrape", "a=http://h", True),
        ("log.level", "debug", True),
        ("query.timeout", "7s", False),
        ("storage.tsdb.retention.time", "1h", False),
        ("web.cors.origin", "x", False),
        ("interval", "1s", False),
    ],
)
def test_probes_are_replaced_for_the_settings_that_they_use(key: str, value: str, concerned: bool) -> None:
    """And only if one of them has changed."""
    assert concerns_probes(Config(), make_config({key: value}, {})) == concerned
