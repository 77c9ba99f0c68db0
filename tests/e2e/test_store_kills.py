"""Real kills: after a process that appends heavily is killed, everything that its flushes had finished is there."""

import os
import random
import select
import signal
import struct
import time
from pathlib import Path
from typing import NoReturn

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.store import AppendOutcome, Store, StoreOptions
from tests.support.disk_tools import small_pieces
from tests.support.tsdb_tools import bits, gauges, row, samples_of

_KILLS = 50
_LIVES = 8  # of one directory
_FLUSH_S = 0.02
_WIDTH = 4
_APPENDED = make_labels("x")

# What the child says before it appends the row of a beat, and when the rows up to a beat are on the disk.
_SAYS = struct.Struct("<cq")


def _value(beat: int, i: int) -> float:
    return beat * (i + 1) / 7


def _append(path: str, beat: int, pipe: int) -> NoReturn:
    """The child: appends rows and samples as fast as it can, seals and flushes, until it is killed."""
    store = Store(StoreOptions(path=path))
    journal = store._journal
    assert journal is not None
    store.announce("c", 0, 0, gauges(_WIDTH))
    writer = journal._writer
    flushed, jobs = beat, 0  # the beats before this one are on the disk once so many jobs are done
    due_s = time.monotonic()
    while True:
        os.write(pipe, _SAYS.pack(b"a", beat))
        assert store.append_row("c", 0, beat, row([_value(beat, i) for i in range(_WIDTH)])) is AppendOutcome.APPENDED
        assert store.append(_APPENDED, beat, _value(beat, 0)) is AppendOutcome.APPENDED
        beat += 1
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + _FLUSH_S
            store.maintain(0)
            store.flush()
            if not jobs:
                flushed, jobs = beat, writer._submitted
        if jobs and writer._finished >= jobs:
            os.write(pipe, _SAYS.pack(b"f", flushed))
            jobs = 0


def _live(path: Path, beat: int, word: bytes, wait_s: float) -> tuple[int, int]:
    """A child's life from `beat` on, killed after its first such word: (first beat that may be lost, the end)."""
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(mine)
            _append(str(path), beat, its)
        finally:
            os._exit(1)
    os.close(its)
    said = b""
    kill_s = None
    while True:
        now_s = time.monotonic()
        if kill_s is not None and now_s >= kill_s:
            break
        select.select([mine], [], [], 60 if kill_s is None else kill_s - now_s)
        chunk = os.read(mine, 1 << 16) if select.select([mine], [], [], 0)[0] else b""
        if not chunk and kill_s is None:
            break
        said += chunk
        if kill_s is None and word in said[:: _SAYS.size]:
            kill_s = now_s + wait_s
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    while chunk := os.read(mine, 1 << 16):
        said += chunk
    os.close(mine)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    safe = end = beat
    for kind, number in _SAYS.iter_unpack(said[: len(said) // _SAYS.size * _SAYS.size]):
        if kind == b"a":
            end = number + 1
        else:
            safe = number
    return safe, end


def test_killed_writers_lose_nothing_that_was_flushed(tmp_path: Path) -> None:
    """After each one the store opens, has all that was safe, and nothing that was never appended."""
    rng = random.Random(1)
    safe_at_all = flushes = 0
    with small_pieces():
        for kill in range(_KILLS):
            path = tmp_path / str(kill // _LIVES)
            if kill % _LIVES == 0:
                beat, must = 0, set[int]()
            word = rng.choice([b"a", b"f"])
            safe, end = _live(path, beat, word, rng.uniform(0.0, 0.08))
            flushes += word == b"f"
            must |= set(range(beat, safe))
            safe_at_all += safe - beat
            beat = end
            found = samples_of(Store.open_read_only(str(path)).snapshot())
            there = set(range(end))
            for labels, i in [(_APPENDED, 0), *((column.labels, i) for i, column in enumerate(gauges(_WIDTH)))]:
                samples = found.get(labels, [])
                assert must <= {t for t, _ in samples}, f"kill {kill}: {labels}"
                assert all(t < end and value == bits(_value(t, i)) for t, value in samples)
                there &= {t for t, _ in samples}
            must = there  # a kill amid a write may leave a row without the sample that came after it
    assert safe_at_all >= flushes > 0
