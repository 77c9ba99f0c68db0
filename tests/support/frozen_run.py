"""A stored run for `tests/fixtures/stored_run`, which stays as it was written when the program changes.

`python -m tests.support.frozen_run FOLDER` writes another, after a change of the format that old runs cannot survive.
"""

from __future__ import annotations

import sys

from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.run_event import RunEvent
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.process_rows import Values, columns_of, row_of
from tests.support.tsdb_tools import Samples, bits, drain, gauges, row

START_S = 1_700_000_000
ROWS = 700  # the first ones in block files, the newest in the log alone
WRITTEN = make_labels("written", {"by": "remote write"})
EVENT = RunEvent(START_S + 9.0, "oom_kill", "python", text="1 process")


def values(beat: int) -> list[float | None]:
    """A row: each column is encoded in another way."""
    noise = beat * 2654435761 % (1 << 32)
    return [
        42.0,
        beat * 1000.0,
        beat // 3 / 100,
        noise / 7,
        float(noise % 8),
        float(beat // 37),
        None if beat % 400 < 40 else float(beat % 7),
        (float("inf"), float("nan"), -0.0, 5e-324)[beat % 4],
    ]


def appended() -> list[tuple[int, float]]:
    """Samples that came one by one, with timestamps of their own."""
    return [(START_S * 1000 + beat * 1003, beat / 3) for beat in range(300)]


def samples(labels_of: dict[Labels, int]) -> Samples:
    """What is in it, of the columns by their place."""
    rows = [(START_S * 1000 + beat * 1000, values(beat)) for beat in range(ROWS)]
    found = {
        labels: [(t, bits(value)) for t, row in rows if (value := row[place]) is not None]
        for labels, place in labels_of.items()
    }
    return {**found, WRITTEN: [(t, bits(value)) for t, value in appended()]}


def write(folder: str) -> None:
    """Write it."""
    store = Store(StoreOptions(path=folder))
    run = RunInfo(["python", "train.py"], "host", float(START_S), trees=["python"], version="0.1.0")
    history = History(run, store)
    store.announce("c", 0, 0, gauges(len(values(0))))
    history.announce(0, columns_of(7, "python", tree="python"))
    for beat in range(ROWS):
        store.append_row("c", 0, (START_S + beat) * 1000, row(values(beat)))
        drain(store, (START_S + beat) * 1000)
    for t_ms, value in appended():
        store.append(WRITTEN, t_ms, value)
    for second in range(1, 20):
        history.row(START_S + second, row_of(Values(float(START_S), 20 << 20, 30 << 20, second * 0.5)))
        history.tick(START_S + second)
    history.happened(EVENT)
    history.command_ended(START_S + 20.0, 3, None, duration_s=19.5, cpu_seconds=9.5)
    history.close(START_S + 20.0)
    store.close()


if __name__ == "__main__":
    write(sys.argv[1])
