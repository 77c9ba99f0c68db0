"""`/api/v1/processes`, `/api/v1/events` and `/api/v1/run`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.model.run_event import RunEvent
from prom_probe.tsdb.store import Store
from tests.support.process_rows import Values, columns_of, row_of
from tests.support.web_harness import Site, serving

PROCESS = {
    "tree": "app",
    "pid": 7,
    "ppid": 1,
    "comm": ["work"],
    "cmdline": "work -x",
    "start": 99.5,
    "first": 100.0,
    "last": 100.0,
    "end": None,
    "memory_peak_bytes": 50,
    "memory_peak_time": 100.0,
    "cpu_seconds": 1.5,
    "exit_status": None,
    "signal": None,
    "memory_peak_comm": None,
    "memory_peak_cmdline": None,
    "first_cmdline": None,
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    history = History(RunInfo(command=["work", "-x"], host="h", start=99.0, trees=["app"], version="1"), Store())
    history.announce(0, columns_of(7))
    history.row(100.0, row_of(Values(99.5, resident=40, peak=50, user=1.0, system=0.5)))
    history.happened(RunEvent(100.5, "gap", text="process: no samples for 4.0 s"))
    with serving(Store(), history=history) as site:
        yield site


def test_processes(site: Site) -> None:
    """All that is known of each."""
    assert site.ask("/api/v1/processes").json == {"status": "success", "data": [PROCESS]}
    assert site.ask("/api/v1/processes?start=101").json["data"] == []
    assert site.ask("/api/v1/processes?tree=other").json["data"] == []


def test_events(site: Site) -> None:
    """Null where it did not happen to a tree or a process."""
    assert site.ask("/api/v1/events").json == {
        "status": "success",
        "data": [
            {"t": 99.5, "type": "process_start", "tree": "app", "pid": 7, "text": "work -x"},
            {"t": 100.5, "type": "gap", "tree": None, "pid": None, "text": "process: no samples for 4.0 s"},
        ],
    }
    both = site.ask("/api/v1/events?type=gap&type=exec").json["data"]
    assert [one["type"] for one in both] == ["gap"]


def test_run(site: Site) -> None:
    """What is watched, since when."""
    assert site.ask("/api/v1/run").json["data"] == {
        "command": ["work", "-x"],
        "host": "h",
        "start": 99.0,
        "end": None,
        "exit_status": None,
        "signal": None,
        "duration": None,
        "cpu_seconds": None,
        "trees": ["app"],
        "interval": 1.0,
        "version": "1",
    }


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("events?type=oops", "unknown event type 'oops'"),
        ("events?start=x", "cannot parse"),
        ("processes?end=x", "cannot parse"),
        ("processes?start=2&end=1", "must not be before"),
    ],
)
def test_a_bad_parameter_is_named(site: Site, query: str, text: str) -> None:
    """With 400, as everywhere."""
    reply = site.ask(f"/api/v1/{query}")
    assert reply.status == 400
    assert text in reply.json["error"]
    assert f'invalid parameter "{query.split("?")[1].split("=")[0]}"' in reply.json["error"] or "before" in text
