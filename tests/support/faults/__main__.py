"""Every system call of the supervisor fails once, with every error: `make faults`. CALL... for some kinds."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

from tests.support.faults import FAULTS, Outcome, build_shim, run_with_fault


def main(calls: list[str]) -> int:
    """The exit status: 1 if a run did not survive."""
    bad = total = 0
    with tempfile.TemporaryDirectory() as name:
        shim = build_shim(Path(name))
        for call in calls or FAULTS:
            for number, when in FAULTS[call].items():
                outcomes = every_nth(shim, call, number)
                lost = [(nth, outcome) for nth, outcome in enumerate(outcomes, 1) if not outcome.survived]
                for nth, outcome in lost:
                    where = f"{call} {nth} {errno.errorcode[number]}"
                    print(f"{where}: status {outcome.status}, left {outcome.left}\n{outcome.stderr}")
                figures = f"{len(outcomes):4} failed {len(outcomes) - len(lost):4} survived"
                print(f"{call:8} {errno.errorcode[number]:8} {figures}  ({when})", flush=True)
                total += len(outcomes)
                bad += len(lost)
    print(f"{total} calls failed, {total - bad} runs survived")
    return int(bad > 0)


def every_nth(shim: Path, call: str, number: int) -> list[Outcome]:
    """The outcomes of runs in which the first, the second … such call fails, until a run has not so many."""
    at_once = os.cpu_count() or 1
    found: list[Outcome] = []
    with ThreadPoolExecutor(at_once) as pool:
        while True:
            numbers = range(len(found) + 1, len(found) + 1 + at_once)
            outcomes = pool.map(lambda nth: run_with_fault(shim, call, nth, number), numbers)
            found += takewhile(lambda outcome: outcome.failed, list(outcomes))
            if len(found) < numbers[-1]:
                return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
