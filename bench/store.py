"""The store: bytes a sample, ingest, sealing, one series' hour cold, on the mixed data; tinyflux beside it.

tinyflux comes with the extra `bench`; without it, its column stays empty.
`--tinyflux PYTHON` asks another environment's.
bench/own_run.xz is a recording of our own collectors (bench/record.py).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.record import read
from bench.report import Row, percentile, print_table
from prom_probe.model.family import Column, Family
from prom_probe.model.labels import Labels, label_value
from prom_probe.model.matcher import Matcher
from prom_probe.promql.engine import Engine
from prom_probe.ring.codec import Announce
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.dataset import counters, gauges

HERE = Path(__file__).parent
START_MS = 1_700_000_000_000
HOUR = 3600
PLENTY = 1 << 50

Series = list[tuple[Labels, "array[float]"]]


def columns_of(series: Series) -> list[Column]:
    types = {"x": Family("x", "counter", "A counter."), "g": Family("g", "gauge", "A gauge.")}
    return [Column(types[label_value(labels, "__name__")], labels) for labels, _ in series]


def rows_of(series: Series) -> list[bytes]:
    """The payloads that a probe would send, one a second."""
    return [array("d", values).tobytes() for values in zip(*(values for _, values in series), strict=True)]


def times_of(rows: int, jitter_ms: int = 5) -> list[int]:
    """A timestamp a second, late by up to `jitter_ms`."""
    source = random.Random(5)
    return [START_MS + 1000 * i + source.randint(0, jitter_ms) for i in range(rows)]


def new_store(columns: Sequence[Column], cache_bytes: int = 0) -> Store:
    store = Store(StoreOptions(retention_bytes=PLENTY, decode_cache_bytes=cache_bytes))
    store.announce("bench", 0, 0, columns)
    return store


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def median_ms(work: Callable[[], object], times: int) -> float:
    return percentile([seconds(work) for _ in range(times)], 0.5) * 1000


def append_rows(store: Store, times: Sequence[int], rows: Sequence[bytes], *, seal: bool) -> float:
    """Append all rows, sealing as they come where asked; the longest that sealing held up the writer, in seconds."""
    longest = 0.0
    for t_ms, row in zip(times, rows, strict=True):
        store.append_row("bench", 0, t_ms, row)
        more = seal
        while more:
            begun = time.thread_time()  # a slice that the scheduler gives to others in between is not ours
            more = store.maintain(t_ms)
            longest = max(longest, time.thread_time() - begun)
    return longest


def append_samples(store: Store, times: Sequence[int], series: Series) -> None:
    """Append the same samples one by one, as a remote write brings them, in time order."""
    for i, t_ms in enumerate(times):
        for labels, values in series:
            store.append(labels, t_ms, values[i])
        while store.maintain(t_ms):
            pass


def differing(store: Store, series: Series) -> int:
    """How many samples do not come back bit for bit."""
    expected = dict(series)
    wrong = 0
    for group in store.snapshot().select(0, PLENTY, []):
        for labels, values in zip(group.labels, group.values, strict=True):
            wanted = np.frombuffer(expected.pop(labels), np.uint64)
            wrong += len(wanted) if len(wanted) != len(values) else int((wanted != values.view(np.uint64)).sum())
    return wrong + sum(len(values) for values in expected.values())


def bytes_a_sample(store: Store) -> float:
    """Of sealed samples, with timestamps, refs and facts."""
    blocks = store.blocks()
    return sum(block.size for block in blocks) / sum(block.samples for block in blocks)


def own_run() -> Row:
    """Bytes a sample of our own collectors' recording."""
    store = Store(StoreOptions(retention_bytes=PLENTY))
    for frame in read(HERE / "own_run.xz"):
        if isinstance(frame, Announce):
            store.announce(frame.collector, frame.layout, frame.start, frame.full_columns())
        else:
            store.append_row(frame.collector, frame.layout, frame.t_ms, frame.values)
            while store.maintain(frame.t_ms):
                pass
    stats = store.stats()
    name = f"bytes a sample, our own probes ({stats.series} series, {stats.samples:,} samples)"
    return verdict(name, bytes_a_sample(store), "{:.3f}", 1.2)


def verdict(name: str, value: float, form: str, budget: float, *, least: bool = False) -> Row:
    """A row of the table: `budget` is the most that `value` may be, or the least."""
    good = value >= budget if least else value <= budget
    return name, form.format(value), f"{'>=' if least else '<='} {budget:g}", "ok" if good else "MISSED"


def mixed(series: Series, times: Sequence[int]) -> list[Row]:
    """Size and speed on 500 counters and 500 gauges."""
    columns, rows = columns_of(series), rows_of(series)
    samples = len(series) * len(rows)
    head = new_store(columns)
    ingest = samples / seconds(lambda: append_rows(head, times, rows, seal=False)) / 1e6
    store = new_store(columns)
    longest: list[float] = []
    sustained = samples / seconds(lambda: longest.append(append_rows(store, times, rows, seal=True))) / 1e6
    by_sample = new_store([])
    appended = samples / seconds(lambda: append_samples(by_sample, times, series)) / 1e6
    return [
        verdict("bytes a sample, mixed data, merged", bytes_a_sample(store), "{:.3f}", 2.9),
        verdict("  the same by general append", bytes_a_sample(by_sample), "{:.3f}", 2.9),
        verdict("samples that differ in a bit", differing(store, series) + differing(by_sample, series), "{:.0f}", 0),
        verdict("rows into the head, M samples/s", ingest, "{:.0f}", 2, least=True),
        verdict("rows, sealed and merged, M samples/s", sustained, "{:.2f}", 0.2, least=True),
        verdict("general append, sealed and merged, M samples/s", appended, "{:.2f}", 0.2, least=True),
        verdict("longest slice of sealing, ms of CPU", longest[0] * 1000, "{:.2f}", 5),
    ]


def one_series_ms(store: Store, labels: Labels) -> tuple[float, float]:
    """Milliseconds to read an hour of one series with a cold cache: (the store alone, the whole query)."""
    matchers = [Matcher(name, "=", value) for name, value in labels]
    query = "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}[1h]"
    end_ms = START_MS + HOUR * 1000
    engine = Engine()

    def select() -> None:
        found = sum(group.values.size for group in store.snapshot().select(0, PLENTY, matchers))
        assert found == HOUR, found

    return median_ms(select, 200), median_ms(lambda: engine.instant(store.snapshot(), query, end_ms), 200)


def one_series(series: Series, times: Sequence[int], tinyflux: str) -> list[Row]:
    """One series' hour among more and more others."""
    out = []
    beside = tinyflux_ms(tinyflux, (1, 10, 100))
    for count in (1, 10, 100, len(series)):
        some = series[:count]
        by_row = new_store(columns_of(some))
        append_rows(by_row, times, rows_of(some), seal=True)
        by_sample = new_store([])
        append_samples(by_sample, times, some)
        cells = [f"{ms:.3f}" for store in (by_row, by_sample) for ms in one_series_ms(store, some[0][0])]
        out.append((f"{count * len(times):,}", *cells, beside.get(count, "-")))
    return out


_TINYFLUX = """
import json, sys, time
from datetime import datetime, timedelta, timezone
from tinyflux import Point, TagQuery, TimeQuery, TinyFlux
from tinyflux.storages import MemoryStorage
count, start, took = int(sys.argv[1]), datetime(2024, 1, 1, tzinfo=timezone.utc), []
db = TinyFlux(storage=MemoryStorage)
db.insert_multiple(
    Point(time=start + timedelta(seconds=s), measurement="x", tags={"i": str(i)}, fields={"v": s * i / 7})
    for s in range(3600)
    for i in range(count)
)
for _ in range(7):
    begun = time.perf_counter()
    found = db.search((TagQuery().i == "0") & (TimeQuery() >= start))
    took.append(time.perf_counter() - begun)
    assert len(found) == 3600
print(json.dumps(sorted(took)[3] * 1000))
"""


def tinyflux_ms(python: str, counts: Iterable[int]) -> dict[int, str]:
    """Milliseconds that tinyflux takes for one series' hour among `counts` series; empty without tinyflux."""
    out: dict[int, str] = {}
    for count in counts:
        try:
            done = subprocess.run([python, "-c", _TINYFLUX, str(count)], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return out
        out[count] = f"{json.loads(done.stdout):.1f}"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="The store's benchmarks, against their budgets.")
    parser.add_argument("--tinyflux", default=sys.executable, metavar="PYTHON")
    args = parser.parse_args()
    series = [*counters(500, HOUR), *gauges(500, HOUR)]
    times = times_of(HOUR)
    results = [*mixed(series, times), own_run()]
    print_table(("mixed data: 500 + 500 series, 1 h at 1 s", "measured", "budget", ""), results)
    print()
    rows = one_series(series, times, args.tinyflux)
    head = ("samples stored", "rows: store", "rows: query", "appended: store", "appended: query", "tinyflux")
    print_table(("one series' hour, cache cold, ms: " + head[0], *head[1:]), rows)
    print()
    growth = [float(last) / float(first) for first, last in zip(rows[0][1:5], rows[-1][1:5], strict=True)]
    worst = max(float(cell) for row in rows for cell in row[1:5])
    print_table(
        ("one series' hour", "measured", "budget", ""),
        [
            verdict("slowest query, ms", worst, "{:.3f}", 0.5),
            verdict("growth from 3.6 k to 3.6 M samples", max(growth), "{:.2f}", 1.5),
        ],
    )


if __name__ == "__main__":
    main()
