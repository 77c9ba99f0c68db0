"""Eight hours of a tree in which processes come and go, as a dashboard asks for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.process_rows import Values, columns_of, row_of
from tests.support.waiting import DEADLINE_S
from tests.support.web_harness import Site, serving

_START_S, _SECONDS = 1_700_000_000, 8 * 3600
_LASTING = 5  # processes
_LIFE_S, _EVERY_S = 40, 60  # how long each of the others lives, and after which time the next one comes
_RENEWED = 20  # after so many of these, the layout begins anew
_STEP_S = 30

_BRIEF = _SECONDS // _EVERY_S

# Expression, and how many series it gives.
_PANELS = [
    ("proctree_process_resident_memory_bytes", _LASTING + _BRIEF),
    ("rate(proctree_process_cpu_seconds_total[1m])", 2 * (_LASTING + _BRIEF)),
    ("sum by (pid) (rate(proctree_process_cpu_seconds_total[1m]))", _LASTING + _BRIEF),
    ("max_over_time(proctree_process_resident_memory_bytes[1m])", _LASTING + _BRIEF),
    ("count(proctree_process_info)", 1),
]


def _tree() -> Store:
    """Rows of a process tree, one a second, sealed and merged on the way."""
    store = Store(StoreOptions(retention_ms=2 * 1000 * _SECONDS))
    lasting = [(pid, _SECONDS) for pid in range(1, _LASTING + 1)]
    layout, columns, present = 0, [], lasting
    for second in range(_SECONDS):
        if second % _EVERY_S == 0:
            number = second // _EVERY_S
            if number % _RENEWED == 0:
                layout, present = layout + 1, lasting
                columns = [column for pid, _ in lasting for column in columns_of(pid)]
                store.announce("process", layout, 0, columns)
            more = columns_of(1000 + number, "brief")
            store.announce("process", layout, len(columns), more)
            columns, present = columns + more, [*present, (1000 + number, second + _LIFE_S)]
        values = (Values(1.0, 1e6 + pid, user=second / 100) if second < end else None for pid, end in present)
        assert store.append_row("process", layout, (_START_S + second) * 1000, row_of(*values)) == "appended"
        if second % 16 == 0:
            store.maintain((_START_S + second) * 1000, 0.01)
    while store.maintain((_START_S + _SECONDS) * 1000, 1.0):
        pass
    return store


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(_tree(), clock=lambda: _START_S + _SECONDS) as site:
        yield site


def _draw(site: Site, expr: str) -> list[Any]:
    """The series of a panel over all eight hours."""
    form = {"query": expr, "start": _START_S, "end": _START_S + _SECONDS, "step": _STEP_S}
    reply = site.ask(f"/api/v1/query_range?{urlencode(form)}")
    assert reply.status == 200, (expr, reply.body[:300])
    found: list[Any] = json.loads(reply.body)["data"]["result"]
    return found


def test_all_panels_at_once_within_the_default_limits(site: Site) -> None:
    """Each is answered, with all its series."""
    found: dict[str, int] = {}

    def ask(expr: str) -> None:
        found[expr] = len(_draw(site, expr))

    threads = [threading.Thread(target=ask, args=(expr,)) for expr, _ in _PANELS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert found == dict(_PANELS)


def test_each_process_is_drawn_for_as_long_as_it_lived(site: Site) -> None:
    """No point before its start or after its end, and each at its own value, in whichever block it was."""
    lasted = {one["metric"]["pid"]: one["values"] for one in _draw(site, _PANELS[0][0])}
    for number in range(_BRIEF):
        begin = _START_S + number * _EVERY_S
        times = [t for t in range(_START_S, _START_S + _SECONDS, _STEP_S) if begin <= t < begin + _LIFE_S]
        assert lasted[str(1000 + number)] == [[t, str(1_001_000 + number)] for t in times]
    for pid in range(1, _LASTING + 1):
        assert len(lasted[str(pid)]) == _SECONDS // _STEP_S + 1
