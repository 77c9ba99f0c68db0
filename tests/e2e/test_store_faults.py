"""Faults of the store's files in full; the unit tests have a sample of each."""

import random
from pathlib import Path

from tests.support.crash_trace import TracedLife
from tests.support.flips import Flips, make_sample


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
