"""Rings and slots whose processes are killed at any moment lose, repeat and damage nothing."""

import os
import signal
import struct
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import HEAD, create_ring, ring_cells
from prom_probe.ring.producer import Producer
from prom_probe.ring.slot import Slot
from tests.support.waiting import DEADLINE_S

BELL = Doorbell()


def run_until(child: Callable[[], NoReturn], reached: Callable[[], bool]) -> None:
    """Run `child` in a process of its own, and kill it once `reached` holds."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(1)
    try:
        end_s = time.monotonic() + DEADLINE_S
        while not reached():
            assert time.monotonic() < end_s, "stalled"
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"


def test_killed_producers_leave_no_trace() -> None:
    """Producers killed in the middle of pushes: nothing is corrupt, repeated or missing, and nothing stalls."""
    ring = create_ring(1 << 16)
    consumer = Consumer(ring)
    numbers: list[int] = []

    def produce() -> NoReturn:
        producer, cells = Producer(ring, BELL), ring_cells(ring)
        while True:
            number = cells[HEAD]  # where the last producer's last published frame ended
            producer.push(struct.pack("<Q", number) + bytes(number % 401))

    def three_more() -> bool:
        numbers.extend(take(consumer))
        return len(numbers) >= before + 3

    for _ in range(60):
        before = len(numbers)
        run_until(produce, three_more)
        numbers += take(consumer)
    assert consumer.corrupt == 0
    assert len(set(numbers)) == len(numbers)
    sizes = [16 + ((8 + n % 401 + 7) & ~7) for n in numbers]
    assert [b - a for a, b in pairwise(numbers)] == sizes[:-1]


def take(consumer: Consumer) -> list[int]:
    """The numbers in the frames that wait; each payload must be complete."""
    taken = []
    for _, payload in consumer.pop():
        (number,) = struct.unpack_from("<Q", payload)
        assert payload[8:] == bytes(number % 401)
        taken.append(number)
    consumer.commit()
    return taken


def test_killed_consumers_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Consumers killed in the middle of pops: by sequence number every frame is seen, in order."""
    ring = create_ring(1 << 15)
    producer = Producer(ring, BELL)
    Consumer(ring)
    log = os.open(tmp_path / "seen", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    sent = 0

    def consume() -> NoReturn:
        consumer = Consumer(ring)
        while True:
            for seq, payload in consumer.pop():
                os.write(log, struct.pack("<QQ", seq, int(payload)))
            consumer.commit()

    def twenty_more() -> bool:
        nonlocal sent
        sent += producer.push(b"%020d" % sent)
        return os.fstat(log).st_size >= goal

    for _ in range(40):
        goal = os.fstat(log).st_size + 16 * 20
        run_until(consume, twenty_more)
    last = Consumer(ring)
    rest = [(seq, int(payload)) for seq, payload in last.pop()]
    raw = os.pread(log, os.fstat(log).st_size, 0)
    os.close(log)
    seen: dict[int, int] = {}
    for seq, number in [*struct.iter_unpack("<QQ", raw), *rest]:
        assert seen.setdefault(seq, number) == number
    assert [seen[seq] for seq in sorted(seen)] == list(range(sent))
    assert last.corrupt == 0


def test_a_slot_survives_its_writers_death() -> None:
    """A writer killed in the middle of a write leaves a complete value."""
    slot = Slot(4096)

    def write() -> NoReturn:
        n = 0
        while True:
            n += 1
            slot.write(b"%d" % n * 700)

    for _ in range(20):
        first = slot.read()
        run_until(write, lambda first=first: slot.read() != first)  # type: ignore[misc]
        value = slot.read()
        assert value, "no complete value is left"
        assert value[: len(value) // 700] * 700 == value
