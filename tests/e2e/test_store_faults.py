"""Faults of the store's files in full; the unit tests have a sample of each."""

import errno
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash_trace import TracedLife
from tests.support.disk_tools import steps_of_a_day, survive_fault
from tests.support.flips import Flips, make_sample
from tests.support.memory import folder_in_memory


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """What is tried so often is kept in memory."""
    with folder_in_memory() as path:
        yield path


def test_a_flipped_bit_in_every_byte_of_every_file(tmp_path: Path) -> None:
    """Each costs what it is part of, and nothing else."""
    flips = Flips(make_sample(tmp_path / "sample"), tmp_path / "copy")
    bits = random.Random()
    for name, at in flips.places():
        flips.check(name, at, bits.randrange(8))


def test_a_crash_after_every_step(tmp_path: Path) -> None:
    """With five choices each of what a power cut leaves of the steps that no sync has confirmed."""
    life = TracedLife(tmp_path / "store")
    chance = random.Random()
    for count in range(len(life.trace.steps) + 1):
        for _ in range(5):
            life.check(count, tmp_path / "left", chance)


# One that the file has, as ENOSPC and EACCES are to the store, and one that the process has.
@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE], ids=["EIO", "EMFILE"])
def test_an_error_at_every_call(tmp_path: Path, code: int) -> None:
    """Of a day of the store's life: the loss of one operation, or of forty."""
    for step in range(steps_of_a_day(tmp_path / "all")):
        survive_fault(tmp_path / "store", step, 1 if step % 2 else 40, code)
