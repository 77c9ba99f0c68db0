"""The ring: order, wrap-around, overrun and corruption; the slot and the doorbell."""

import ctypes
import os
import re
import select
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.ring import layout
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import (
    CAPACITY,
    HEAD,
    HEADER_BYTES,
    MAGIC,
    TAIL,
    RingError,
    begin_ring,
    create_ring,
    max_payload,
    reserve_ring,
    ring_cells,
    ring_data,
)
from prom_probe.ring.producer import Producer
from prom_probe.ring.slot import Slot
from prom_probe.run.board import WorkerBoard

BELL = Doorbell()
CAPACITY_BYTES = 4096

payloads = st.binary(max_size=max_payload(CAPACITY_BYTES))


def make_ring() -> tuple[memoryview, Producer, Consumer]:
    ring = create_ring(CAPACITY_BYTES)
    return ring, Producer(ring, BELL), Consumer(ring)


def pop_all(consumer: Consumer) -> list[bytes]:
    """Everything in the ring, including frames that need a second look."""
    frames = [payload for _ in range(40) for _, payload in consumer.pop()]
    consumer.commit()
    return frames


@given(st.lists(st.lists(payloads, max_size=8), max_size=30))
@settings(max_examples=60)
def test_frames_come_out_as_they_went_in_over_many_laps(bursts: list[list[bytes]]) -> None:
    """What push accepted is what pop returns, in order, wherever the frames wrap; what push refused is counted."""
    _, producer, consumer = make_ring()
    refused = 0
    for burst in bursts:
        accepted = [payload for payload in burst if producer.push(payload)]
        refused += len(burst) - len(accepted)
        popped = consumer.pop()
        consumer.commit()
        assert [payload for _, payload in popped] == accepted
        assert [seq for seq, _ in popped] == sorted(seq for seq, _ in popped)
    assert consumer.dropped == refused
    assert consumer.corrupt == 0


@given(st.integers(0, 50), st.integers(0, 10_000), st.integers(1, 255), st.integers(0, 200))
@settings(max_examples=300)
def test_a_flipped_byte_costs_one_frame_and_is_counted(laps: int, where: int, flip: int, size: int) -> None:
    """Whichever byte is flipped, all other frames arrive, and the loss is counted."""
    ring, producer, consumer = make_ring()
    for i in range(laps):  # so that frames lie anywhere and wrap
        producer.push(bytes(i))
        pop_all(consumer)
    start = ring_cells(ring)[HEAD]
    sent = [bytes([i]) * size for i in range(6)]
    assert all(producer.push(payload) for payload in sent)
    used = ring_cells(ring)[HEAD] - start
    position = start + where % used
    at = position & (CAPACITY_BYTES - 1)
    ring_data(ring)[at] ^= flip
    frame = (where % used) // (used // 6)
    padding = (where % used) % (used // 6) >= 16 + size
    expected = sent if padding else sent[:frame] + sent[frame + 1 :]
    assert pop_all(consumer) == expected
    assert consumer.corrupt == (0 if padding else 1)
    assert producer.push(b"next")
    assert pop_all(consumer) == [b"next"]


def test_a_frame_of_an_earlier_lap_is_no_frame_of_this_one() -> None:
    """Bytes with a right CRC whose sequence number is not their position are skipped and counted."""
    ring, producer, consumer = make_ring()
    producer.push(b"old")
    size = ring_cells(ring)[HEAD]
    stale = bytes(ring_data(ring)[:size])
    assert pop_all(consumer) == [b"old"]
    ring_data(ring)[size : 2 * size] = stale
    ring_cells(ring)[HEAD] = 2 * size
    assert producer.push(b"new")
    assert pop_all(consumer) == [b"new"]
    assert consumer.corrupt == 1


@given(st.integers(0, 2**32), st.integers(0, 2**60), st.integers(0, 2**60))
@settings(max_examples=100)
def test_a_consumer_survives_any_bytes(seed: int, head: int, tail: int) -> None:
    """Random data and random counters never make the consumer raise or stall, and new frames get through again."""
    ring, producer, consumer = make_ring()
    ring_data(ring)[:] = Random(seed).randbytes(CAPACITY_BYTES)
    ring_cells(ring)[HEAD] = head * 8
    ring_cells(ring)[TAIL] = tail * 8
    pop_all(Consumer(ring))
    pop_all(consumer)
    assert producer.push(b"fresh")
    assert pop_all(consumer)[-1] == b"fresh"


def test_cells_lie_where_the_drawing_has_them() -> None:
    """Each of them once, and the data behind them all."""
    drawn = re.findall(r"^ +(\d+) +(\d+)  ([A-Z]+) ", layout.__doc__ or "", re.MULTILINE)
    assert len(drawn) == 12
    for cell, byte, name in drawn:
        assert (getattr(layout, name), 8 * getattr(layout, name)) == (int(cell), int(byte)), name
    assert layout.HEADER_BYTES == 256


def test_counts_are_read_by_the_other_end() -> None:
    """Frames, drops, beats and the last sign of life."""
    _, producer, consumer = make_ring()
    for _ in range(3):
        producer.push(b"x")
    producer.drop()
    producer.drop()
    assert consumer.heartbeat_ns == 0
    before = time.monotonic_ns()
    producer.beat()
    assert before <= consumer.heartbeat_ns <= time.monotonic_ns()
    assert (consumer.pushed, consumer.dropped, consumer.beats, consumer.corrupt) == (3, 2, 1, 0)
    assert consumer.used == 3 * 24 and consumer.capacity == CAPACITY_BYTES


def test_a_full_ring_drops_the_new_frame_and_never_waits() -> None:
    """The frames that fitted stay; the others are counted."""
    _, producer, consumer = make_ring()
    results = [producer.push(b"x" * 500) for _ in range(20)]
    fitted = CAPACITY_BYTES // 520
    assert results == [True] * fitted + [False] * (20 - fitted)
    assert (consumer.dropped, consumer.pushed) == (20 - fitted, fitted)
    assert len(pop_all(consumer)) == fitted
    assert producer.push(b"again")


def test_a_frame_longer_than_a_quarter_of_the_ring_is_refused() -> None:
    """One frame cannot starve all others."""
    _, producer, consumer = make_ring()
    assert not producer.push(bytes(producer.max_payload + 1))
    assert producer.push(bytes(producer.max_payload))
    assert consumer.dropped == 1


def test_uncommitted_frames_come_again_with_the_same_sequence_numbers() -> None:
    """At least once: the successor of a consumer that dies before `commit` sees the frames again."""
    ring, producer, first = make_ring()
    producer.push(b"a")
    producer.push(b"b")
    seen = first.pop()
    second = Consumer(ring)
    assert second.pop() == seen
    assert producer.generation == 2


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda ring: ring_cells(ring).__setitem__(MAGIC, 0), "not a ring of version 1"),
        (lambda ring: ring_cells(ring).__setitem__(CAPACITY, 1000), "cannot have a capacity of 1000"),
        (lambda ring: ring_cells(ring).__setitem__(CAPACITY, 1 << 40), "cannot have a capacity"),
    ],
)
def test_mappings_that_are_not_rings_are_refused(spoil: Callable[[memoryview], None], text: str) -> None:
    """The error says what is wrong."""
    ring = create_ring(CAPACITY_BYTES)
    spoil(ring)
    with pytest.raises(RingError, match=text):
        Consumer(ring)
    with pytest.raises(RingError, match="at least 256 bytes"):
        ring_data(memoryview(bytes(HEADER_BYTES - 1)))


def test_a_slot_keeps_its_newest_value_and_refuses_a_longer_one() -> None:
    """Values replace each other; one that is too long changes nothing."""
    slot = Slot(100)
    assert slot.read() == b""
    for value in (b"one", b"", b"x" * 100):
        assert slot.write(value)
        assert slot.read() == value
    for size in (200, 105):
        assert not slot.write(b"x" * size)
    assert slot.read() == b"x" * 100


def test_the_board_shows_who_runs_and_how_often_it_was_restarted() -> None:
    """Rows by name; a restart is counted, an ordinary end is not."""
    board = WorkerBoard(["process", "aggregator"])
    board.started("aggregator", 42)
    board.ended("aggregator", restart=True)
    board.started("aggregator", 43)
    board.started("process", 7)
    board.ended("process", restart=False)
    assert [row[:3] for row in board.rows()] == [("process", 0, 0), ("aggregator", 43, 1)]


def test_a_worker_without_anything_to_do_is_not_on_the_board() -> None:
    """Not as one that is down; when it has something to do it is there again."""
    board = WorkerBoard(["one"])
    board.started("one", 5)
    board.ended("one", restart=True)
    board.idle("one")
    assert [row.started_ns for row in board.rows()] == [0]
    board.started("one", 6)
    (row,) = board.rows()
    assert row.started_ns and (row.pid, row.restarts) == (6, 1)


def test_a_reserved_ring_takes_no_memory_until_it_is_begun() -> None:
    """No page of it is resident; once begun, it is like any other."""
    buffer = reserve_ring(CAPACITY_BYTES)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))

    def resident() -> int:
        text = Path("/proc/self/smaps").read_text()
        (found,) = re.findall(rf"^{address:x}-.*?^Rss: *(\d+) kB", text, re.MULTILINE | re.DOTALL)
        return int(found)

    assert resident() == 0
    begin_ring(buffer)
    assert 0 < resident() <= 4 * os.sysconf("SC_PAGE_SIZE") // 1024
    producer, consumer = Producer(buffer, BELL), Consumer(buffer)
    assert producer.push(b"x")
    assert pop_all(consumer) == [b"x"]


@pytest.mark.parametrize("eventfd", [True, False], ids=["eventfd", "pipe"])
def test_a_doorbell_is_readable_from_ring_to_clear(eventfd: bool) -> None:
    """However often it was rung, one `clear` is enough; ringing never blocks, and nothing is inherited by exec."""
    bell = Doorbell(eventfd=eventfd)

    def rung() -> bool:
        return bool(select.select([bell.fd], [], [], 0)[0])

    for rings in (0, 1, 2, 20_000, 0):
        for _ in range(rings):
            bell.ring()
        assert rung() == (rings > 0)
        bell.clear()
        assert not rung()
    assert not os.get_inheritable(bell.fd)
    bell.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(bell.fd)
