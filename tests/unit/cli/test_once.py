"""`prom-probe once`: collecting twice, and what a collector that fails costs."""

from __future__ import annotations

import pytest

from prom_probe.cli.once import collect_once
from prom_probe.model.definition import define
from prom_probe.model.family import column
from prom_probe.model.layout import Layout

COUNTER = define("c_total", "counter", "", "A counter.", source="here", definition="Collections.")


class Counting:
    """A collector that counts its collections, and fails in one of them."""

    def __init__(self, name: str, fails_in: int = 0) -> None:
        self.name = name
        self.layout = Layout()
        self._start = self.layout.add((column(COUNTER.family, collector=name),)).start
        self._fails_in = fails_in
        self.collections = 0
        self.closed = False

    def collect(self) -> None:
        self.collections += 1
        if self.collections == self._fails_in:
            raise ZeroDivisionError("nothing by nothing")
        self.layout.row[self._start] = self.collections

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("fails_in", [1, 2, 3])
def test_a_collector_that_fails_costs_its_own_series(fails_in: int) -> None:
    """And is a line in the log."""
    lines: list[tuple[str, str]] = []
    collectors = [Counting("good"), Counting("bad", fails_in), Counting("last")]
    readings = collect_once(collectors, 0.01, lambda level, message: lines.append((level, message)))
    assert [(dict(each.column.labels)["collector"], each.value) for each in readings] == [("good", 3), ("last", 3)]
    assert all(each.rate is not None and each.rate > 0 for each in readings)
    ((level, message),) = lines
    assert (level, message.split(" at ")[0]) == (
        "error",
        "collector bad failed: ZeroDivisionError: nothing by nothing",
    )
    assert all(collector.closed for collector in collectors)
