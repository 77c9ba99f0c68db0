"""From a collector's row to the store: announcements, growth, renumbering, restarts, damage, silence."""

from __future__ import annotations

import time

from prom_probe.aggregate.aggregator import SELF_COLLECTOR
from prom_probe.model.run_event import RunEvent
from prom_probe.model.sample import is_stale
from prom_probe.ring.codec import Event, Happened, Reaped, encode
from prom_probe.ring.layout import ring_data
from tests.support.pipeline import Pipeline
from tests.support.process_rows import Values, columns_of, row_of


def test_rows_arrive_and_growth_is_announced() -> None:
    """New columns are announced before the first row that has them."""
    house = Pipeline()
    house.numbers.add("a")
    house.beat()
    house.numbers.add("b", "c")
    house.beat()
    house.beat()
    assert house.samples("a") == [1, 2, 3]
    assert house.samples("b") == house.samples("c") == [2, 3]
    assert house.own("prom_probe_collector_runs_total", collector="numbers") == 3
    assert house.own("prom_probe_collector_success", collector="numbers") == 1
    assert house.own("prom_probe_ingest_latency_seconds_count") == 3


def test_our_own_metrics_go_into_the_store_like_any_row() -> None:
    """A beat of the aggregator is a row of its own collector."""
    house = Pipeline()
    house.aggregator.tick()
    (newest,) = (n for n in house.store.newest() if n.collector == SELF_COLLECTOR)
    names = {c.family.name for c in newest.columns}
    assert {"prom_probe_build_info", "prom_probe_tsdb_series", "prom_probe_ring_frames_total"} <= names
    assert len(newest.payload) == 8 * len(newest.columns)


def test_renumbered_columns_are_the_same_series() -> None:
    """After a compaction the survivors continue, the others have ended."""
    house = Pipeline(1 << 20)
    house.numbers.add(*(str(i) for i in range(600)))
    house.beat()
    house.numbers.remove(*(str(i) for i in range(400)))
    house.beat()
    house.beat()
    assert house.numbers.layout.number == 1
    assert len(house.numbers.layout.columns) == 200
    house.beat()
    assert house.samples("500") == [1, 2, 3, 4]
    assert house.samples("399") == [1]


def test_a_new_aggregator_is_announced_to_and_gets_what_it_missed() -> None:
    """Rows that came while there was none are held until the announcement, and then are there."""
    house = Pipeline()
    house.numbers.add("a")
    house.beat()
    house.beat(drain=False)
    house.beat(drain=False)
    house.restart_aggregator()
    house.aggregator.drain()
    assert house.samples("a") == []
    house.beat()
    assert house.samples("a") == [2, 3, 4]
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 0


def test_rows_that_nobody_announces_are_given_up_and_counted() -> None:
    """Held rows are bounded."""
    house = Pipeline()
    house.numbers.add("a")
    house.beat()
    for _ in range(80):
        house.beat(drain=False)
    house.restart_aggregator()
    house.aggregator.drain()
    assert house.own("prom_probe_tsdb_rejected_samples_total", reason="unannounced") == 80 - 64


def test_an_announcement_longer_than_a_frame_is_split() -> None:
    """4,000 columns go through a ring whose frames have 64 KiB."""
    house = Pipeline(1 << 18)
    house.numbers.add(*(f"number {i:05}" for i in range(4000)))
    house.beat()
    house.beat()
    assert house.samples("number 03999") == house.samples("number 00000") == [1, 2]


def test_a_full_ring_costs_rows_that_are_counted_and_nothing_else() -> None:
    """An announcement that did not fit is sent with a later beat."""
    house = Pipeline(4096)
    house.numbers.add("a")
    for i in range(60):
        house.numbers.add(f"b{i}")
        house.beat(drain=False)
    dropped = house.own("prom_probe_ring_dropped_frames_total", ring="ring")
    assert dropped > 0
    for _ in range(10):
        house.aggregator.drain()
        house.beat()
    assert house.samples("b59")[-1] == house.samples("a")[-1] == 70
    assert house.own("prom_probe_ring_dropped_frames_total", ring="ring") == dropped


def test_a_damaged_frame_is_counted_and_the_next_ones_arrive() -> None:
    """One lost row, one count."""
    house = Pipeline()
    house.numbers.add("a")
    house.beat()
    position = house.producer._cells[8]
    house.beat(drain=False)
    ring_data(house.ring)[position + 20] ^= 0xFF
    house.beat(drain=False)
    house.aggregator.drain()
    house.aggregator.drain()
    assert house.samples("a") == [1, 3]
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 1


def test_a_frame_of_another_kind_is_counted_and_logged() -> None:
    """Intact in the ring, but none of ours."""
    house = Pipeline()
    house.producer.push(b"\x93\x01\x02\x03")
    house.aggregator.drain()
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 1
    assert "ring ring: frame of 4 bytes" in house.log[0]


def test_the_series_of_a_silent_collector_end() -> None:
    """After three missed beats; with the next row they live again."""
    house = Pipeline()
    house.numbers.add("a")
    house.beat()
    house.now += 0.3
    assert house.own("prom_probe_collector_success", collector="numbers") == 1
    house.now += 0.01
    assert house.own("prom_probe_collector_success", collector="numbers") == 0
    (newest,) = (n for n in house.store.newest() if n.collector == "numbers")
    assert all(is_stale(value) for value in memoryview(newest.payload).cast("d"))
    assert not house.aggregator.collecting
    house.t_ms = time.time_ns() // 1_000_000
    house.beat()
    assert house.samples("a") == [1, 2]
    assert house.aggregator.collecting


def test_why_a_collector_or_its_target_failed_is_known() -> None:
    """The newest reason, until the collector is forgotten."""
    house = Pipeline()
    assert house.aggregator.fault_of("numbers") == ""
    for kind, text in (("failed", "RuntimeError: no"), ("down", "Connection refused")):
        house.channel.event(Event("numbers", 0, kind, text=text))  # type: ignore[arg-type]
        house.aggregator.drain()
        assert house.aggregator.fault_of("numbers") == text


def test_a_collector_that_is_not_expected_any_more_is_forgotten() -> None:
    """Once it is silent its own metrics end; if it returns they count from zero."""
    house = Pipeline()
    house.numbers.add("a")
    house.beat()
    house.aggregator.change_intervals({})
    house.now += 3.0
    assert house.own("prom_probe_collector_runs_total", collector="numbers") == 1
    house.now += 0.1
    assert is_stale(house.own("prom_probe_collector_runs_total", collector="numbers"))
    house.beat()
    assert house.own("prom_probe_collector_runs_total", collector="numbers") == 1


def gaps(house: Pipeline) -> list[tuple[float, str]]:
    return [(event.t, event.text) for event in house.history.shot().events(0, 1e12, ["gap"])]


def test_a_gap_begins_at_the_last_sample_before_it() -> None:
    """It is told once it is over; a late beat or two are none."""
    house = Pipeline()
    house.aggregator.change_intervals({"numbers": 1.0})
    house.numbers.add("a")
    house.beat()
    house.beat()
    house.t_ms += 2000
    house.beat()
    assert gaps(house) == []
    before_s = house.t_ms / 1000
    house.t_ms += 3500
    house.beat()
    house.beat()
    assert gaps(house) == [(before_s, "numbers: no samples for 4.5 s")]


def test_what_the_supervisor_tells_is_kept() -> None:
    """Through a ring of its own: an event, and how a process ended."""
    house = Pipeline()
    house.history.announce(0, columns_of(7))
    house.history.row(100.0, row_of(Values(99.0)))
    event = RunEvent(100.2, "worker_restart", text="probe")
    house.producer.push(encode(Happened(event)))
    house.producer.push(encode(Reaped(7, 100.5, None, 9, command=True)))
    house.aggregator.drain()
    shot = house.history.shot()
    assert shot.events(0, 1e12, ["worker_restart"]) == [event]
    assert [(one.end, one.signal) for one in shot.processes(0, 1e12)] == [(100.5, 9)]
    assert (shot.run.end, shot.run.signal) == (100.5, 9)
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 0
