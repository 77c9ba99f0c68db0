"""Whoever opens a store ends the series that its writer could not end."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.model.family import column
from prom_probe.model.sample import is_stale
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.tsdb_tools import GAUGE, drain, gauges, row, samples_of


def write(path: Path, rows: int) -> None:
    """Two collectors, of which one is half a second later; nobody ends them."""
    store = Store(StoreOptions(path=str(path)))
    store.announce("c", 0, 0, gauges(2))
    store.announce("d", 0, 0, [column(GAUGE, i="late")])
    for beat in range(rows):
        store.append_row("c", 0, beat * 1000, row([1.0, None if beat else 2.0]))
        store.append_row("d", 0, beat * 1000 + 500, row([3.0]))
        drain(store, beat * 1000)
    store.close()


def last_values(store: Store) -> dict[str, tuple[int, bool]]:
    """By label i: the newest timestamp, and whether the series ends there."""
    return {
        dict(labels)["i"]: (int(group.timestamps[-1]), is_stale(float(values[-1])))
        for group in store.snapshot().select(0, 1 << 40, [])
        for labels, values in zip(group.labels, group.values, strict=True)
    }


@pytest.mark.parametrize("rows", [3, 600], ids=["in the log", "in blocks"])
def test_all_series_end_after_the_newest_sample_of_all(tmp_path: Path, rows: int) -> None:
    """A millisecond later; what is stored is as it was, and so is the time of the newest sample."""
    write(tmp_path / "s", rows)
    newest = (rows - 1) * 1000 + 500
    before = {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    store = Store.open_read_only(str(tmp_path / "s"))
    assert (store.oldest_ms(), store.newest_ms()) == (0, newest)
    ends = last_values(store)
    assert ends["0"] == ends["late"] == (newest + 1, True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()} == before


def test_where_the_clock_was_set_back_nothing_is_hidden(tmp_path: Path) -> None:
    """A row after samples that an earlier clock has written would take their place."""
    store = Store(StoreOptions(path=str(tmp_path / "s")))
    store.announce("c", 0, 0, gauges(1))
    for t_ms in (500_000, 900_000, 400_000):
        store.append_row("c", 0, t_ms, row([1.0]))
    before = samples_of(store.snapshot())
    store.close()
    assert samples_of(Store.open_read_only(str(tmp_path / "s")).snapshot()) == before


def test_an_empty_store_has_no_end(tmp_path: Path) -> None:
    """And no newest sample."""
    Store(StoreOptions(path=str(tmp_path / "s"))).close()
    store = Store.open_read_only(str(tmp_path / "s"))
    assert (store.oldest_ms(), store.newest_ms()) == (None, None)
