"""Every system call of the supervisor fails once, with every error: `make faults`. CALL... for some kinds.

`--in-turn`: once with one of its errors, the next call with the next one.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

from tests.support.faults import FAULTS, Outcome, build_shim, run_with_fault


def main() -> int:
    """The exit status: 1 if a run did not survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", nargs="*", metavar="CALL", help=", ".join(FAULTS))
    parser.add_argument("--in-turn", action="store_true", help="each call with one of its errors only")
    args = parser.parse_args()
    failed: Counter[bool] = Counter()  # by whether the run survived
    with tempfile.TemporaryDirectory() as name:
        run = partial(run_with_fault, build_shim(Path(name)))
        for call in args.calls or FAULTS:
            numbers = list(FAULTS[call])
            for some in [numbers] if args.in_turn else [[number] for number in numbers]:
                survived = Counter(_told(outcome) for outcome in every_nth(partial(run, call), some))
                why = "; ".join(f"{errno.errorcode[number]}: {FAULTS[call][number]}" for number in some)
                print(f"{call:8} {survived.total():4} failed {survived[True]:4} survived  {why}", flush=True)
                failed += survived
    print(f"{failed.total()} calls failed, {failed[True]} runs survived")
    return int(failed[False] > 0)


def every_nth(run: Callable[[int, int], Outcome], numbers: Sequence[int]) -> Iterator[Outcome]:
    """The outcomes of runs in which the first, the second … call fails, until one has not so many. Errors in turn.

    Raises RuntimeError if even that one does not survive: then it is not the fault that ends the others.
    """
    at_once = os.cpu_count() or 1
    with ThreadPoolExecutor(at_once) as pool:
        for first in count(1, at_once):
            for outcome in pool.map(lambda nth: run(nth, numbers[nth % len(numbers)]), range(first, first + at_once)):
                if not outcome.failed and outcome.survived:
                    return
                if not outcome.failed:
                    raise RuntimeError(f"without a fault: {outcome}")
                yield outcome


def _told(outcome: Outcome) -> bool:
    """Whether the run survived; what it was like is printed if not."""
    if not outcome.survived:
        print(f"{outcome.fault}: status {outcome.status}, left {outcome.left}\n{outcome.stderr}", flush=True)
    return outcome.survived


if __name__ == "__main__":
    sys.exit(main())
