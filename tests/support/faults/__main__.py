"""Every system call of the supervisor fails once, with every error: `make faults`. CALL... for some kinds."""

from __future__ import annotations

import errno
import itertools
import sys
import tempfile
from pathlib import Path

from tests.support.faults import FAULTS, build_shim, run_with_fault


def main(calls: list[str]) -> int:
    """The exit status: 1 if a run did not survive."""
    bad = total = 0
    with tempfile.TemporaryDirectory() as name:
        shim = build_shim(Path(name))
        for call in calls or FAULTS:
            for number in FAULTS[call]:
                survived = 0
                for nth in itertools.count(1):
                    outcome = run_with_fault(shim, call, nth, number)
                    if not outcome.failed:
                        break
                    survived += outcome.survived
                    if not outcome.survived:
                        where = f"{call} {nth} {errno.errorcode[number]}"
                        print(f"{where}: status {outcome.status}, left {outcome.left}\n{outcome.stderr}", flush=True)
                print(f"{call:8} {errno.errorcode[number]:8} {nth - 1:4} failed {survived:4} survived", flush=True)
                total += nth - 1
                bad += nth - 1 - survived
    print(f"{total} calls failed, {total - bad} runs survived")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
