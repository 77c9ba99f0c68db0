"""Single flipped bits in the files of a store: a sample of them; tests/e2e/test_store_faults.py flips every byte."""

import random
from pathlib import Path

from tests.support.flips import Flips, make_sample

_EACH = 29  # one byte of so many


def test_a_flipped_bit_costs_what_it_is_part_of(tmp_path: Path) -> None:
    """In any file and any place: the rest is read, the loss is told, and the next start is clean."""
    flips = Flips(make_sample(tmp_path / "sample"), tmp_path / "copy")
    places = list(flips.places())
    assert {name.rpartition(".")[2] for name, _ in places} == {"block", "log", "format", "lock"}
    chosen = random.Random(23)
    for name, at in places[chosen.randrange(_EACH) :: _EACH]:
        flips.check(name, at, chosen.randrange(8))
