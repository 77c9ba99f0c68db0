"""What tests of the store share: columns, rows, and a snapshot's samples as plain lists."""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from unittest.mock import patch

import numpy as np

from prom_probe.model.family import Column, Family, column
from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.sample import STALE
from prom_probe.model.series import PADDING
from prom_probe.tsdb import piece_rows
from prom_probe.tsdb.store import Snapshot, Store

ALWAYS = (-(1 << 53), 1 << 53)

GAUGE = Family("g", "gauge", "A gauge.")
COUNTER = Family("c_total", "counter", "A counter.")

Samples = dict[Labels, list[tuple[int, bytes]]]


def bits(value: float) -> bytes:
    """A float64's bytes, so that samples are compared bit for bit."""
    return struct.pack("<d", value)


def row(values: Iterable[float | None]) -> bytes:
    """A payload; None stands for absent."""
    return b"".join(bits(STALE if value is None else value) for value in values)


def local(i: object) -> Column:
    """A column that only the query API shows."""
    return column(GAUGE, exposed=False, i=str(i))


def gauges(count: int) -> list[Column]:
    """Exposed columns `g{i="0"}`, `g{i="1"}` and so on."""
    return [column(GAUGE, i=str(i)) for i in range(count)]


def filled(rows: Sequence[tuple[int, Sequence[float | None]]], columns: Sequence[Column]) -> Store:
    """A store with these rows of one collector."""
    store = Store()
    store.announce("c", 0, 0, columns)
    for t_ms, values in rows:
        assert store.append_row("c", 0, t_ms, row(values)) == "appended"
    return store


def samples_of(
    snapshot: Snapshot, mint: int = ALWAYS[0], maxt: int = ALWAYS[1], *matchers: Matcher, batch: int = 128
) -> Samples:
    """All samples that `select` returns, without markers; checks what every group promises."""
    out: Samples = {}
    for group in snapshot.select(mint, maxt, matchers, batch=batch):
        assert group.values.shape == (len(group.labels), len(group.timestamps))
        assert 0 < len(group.labels) <= batch
        assert (group.timestamps[1:] > group.timestamps[:-1]).all()
        assert not group.values.flags.writeable and not group.timestamps.flags.writeable
        some = np.arange(len(group.timestamps))[::-2]
        for little in (0, piece_rows._LITTLE):  # looked up in each piece, and decoded as a whole
            with patch.object(piece_rows, "_LITTLE", little):
                assert group.table.at(some).tobytes() == group.values[:, some].tobytes()
        for i, labels in enumerate(group.labels):
            assert labels not in out
            line = [(int(t), v.tobytes()) for t, v in zip(group.timestamps, group.values[i], strict=True)]
            out[labels] = [sample for sample in line if sample[1] != bits(STALE)]
            assert out[labels], "no series without samples"
            if group.dense:
                assert len(out[labels]) == len(line)
            if group.table.rising():
                values = [struct.unpack("<d", value)[0] for _, value in out[labels]]
                assert all(a <= b for a, b in pairwise(values))
    again = _of_several_timelines(snapshot, mint, maxt, matchers, batch)
    assert [labels for labels in out | again if out.get(labels) != again.get(labels)] == []
    return out


def _of_several_timelines(snapshot: Snapshot, mint: int, maxt: int, matchers: Sequence[Matcher], batch: int) -> Samples:
    """The same, from groups that may have several timelines; checks what these promise."""
    out: Samples = {}
    for group in snapshot.select(mint, maxt, matchers, batch=batch, most_values=5000):
        times, line = np.atleast_2d(group.timestamps), group.line
        line = np.zeros(len(group.labels), np.int64) if line is None else line
        values, (timelines, length) = group.values, times.shape
        assert values.shape == (len(line), length) and len(line) <= batch
        assert values.size <= 5000 or len(line) == 1
        assert not values.flags.writeable and not times.flags.writeable
        assert sorted({*line.tolist()}) == list(range(timelines)) and (np.diff(line) >= 0).all()
        index = np.random.default_rng(length).integers(0, length, (timelines, 7))
        found = group.table.at(index if group.line is not None else index[0])
        for i, labels in enumerate(group.labels):
            own = times[line[i]]
            size = int(own.searchsorted(PADDING))
            assert (np.diff(own[:size]) > 0).all() and (own[size:] == PADDING).all()
            wanted = values[i, index[line[i]]]
            there = index[line[i]] < size
            assert found[i, there].tobytes() == wanted[there].tobytes()
            row = [(int(t), v.tobytes()) for t, v in zip(own, values[i], strict=True)]
            assert {value for _, value in row[size:]} <= {bits(STALE)}
            out[labels] = [sample for sample in row if sample[1] != bits(STALE)]
            assert not group.dense or len(out[labels]) == size
            if group.table.rising():
                floats = [struct.unpack("<d", value)[0] for _, value in out[labels]]
                assert all(a <= b for a, b in pairwise(floats))
        assert group.samples == sum(int(times[one].searchsorted(PADDING)) for one in line)
    return out


def drain(store: Store, now_ms: int = 0) -> None:
    """Let the store do all its background work."""
    while store.maintain(now_ms, 10.0):
        pass
