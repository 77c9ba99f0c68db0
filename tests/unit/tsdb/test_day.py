"""A day in a few seconds: processes come and go, a fork storm passes, and the store stays within its limits."""

from prom_probe.model.labels import label_value
from prom_probe.model.matcher import Matcher
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.day import A_PROCESS, LONG_LIVED, START_MS, Feed, Life

_RETENTION_S = 300
_CAP = 5000
_STORM = range(450, 700)


REMEMBERED = {"proctree_process_info", "proctree_process_resident_memory_bytes"}


def names_of(store: Store, pid: int) -> set[str]:
    """The metrics that the store has of a process."""
    found = store.snapshot().series(0, START_MS * 2, [Matcher("pid", "=", str(pid))])
    return {label_value(labels, "__name__") for labels in found}


def test_churn_and_a_storm_leave_the_store_as_it_was() -> None:
    """Bytes and series stay bounded, retention is kept, and long-lived processes lose no detail.

    What began in the storm as the largest of its second is remembered by name and memory until it expires.
    """
    store, life = Store(StoreOptions(retention_ms=_RETENTION_S * 1000, max_series=_CAP)), Life()
    feed = Feed(store, life)
    calm = after = 0
    largest = []
    for beat in range(1200):
        life.beat(beat, 50 if beat in _STORM else int(beat % 5 == 0))
        feed.send(START_MS + beat * 1000, slices=50)
        if life.largest:
            assert names_of(store, life.largest) > REMEMBERED, "also in the storm"
        if beat in _STORM:
            largest.append(life.largest)
        if beat == _STORM.stop:
            assert all(names_of(store, pid) >= REMEMBERED for pid in largest)
        stats = store.stats()
        assert stats.series <= _CAP + 40, "at most the cap and what is exposed"
        if beat == 440:
            calm = stats.bytes
        if beat == 1199:
            after = stats.bytes
    assert after < 1.3 * calm
    assert stats.rejected == {}
    (group,) = store.snapshot().select(0, START_MS * 2, [Matcher("pid", "=", "117")])
    times = group.timestamps.tolist()
    assert len(group.labels) == A_PROCESS and group.dense
    assert times == list(range(times[0], times[-1] + 1, 1000))
    assert _RETENTION_S <= (times[-1] - times[0]) / 1000 <= _RETENTION_S * 9 / 8 + 2
    alive = store.snapshot().series(times[-1], times[-1], [Matcher("comm", "=~", "worker.*")])
    assert len(alive) == LONG_LIVED * A_PROCESS
