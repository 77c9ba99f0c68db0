"""A run beside receivers that fail while its own workers are killed, and what stands where afterwards.

    python -m tests.support.outages                    ten minutes at 1 s, 20 outages

Each receiver is one of `FaultReceiver`'s; two of them pass on to a real Prometheus and a real VictoriaMetrics.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.support.outage_trial import receivers, run
from tests.support.outage_verdict import compare, differences, report, stored


def main() -> int:
    """The exit status: 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--interval", type=float, default=1.0, help="of the collections, in seconds")
    parser.add_argument("--outages", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(2))
    with tempfile.TemporaryDirectory() as name, receivers() as found:
        path = Path(name) / "run"
        trial = run(found, path, args.seconds, args.interval, args.outages, seed)
        expected = stored(path)
        verdicts = [compare(one, trial, expected) for one in found]
        unlike = differences(trial, path, expected)
    print(f"seed {seed}")
    print(report(trial, verdicts, unlike))
    bad = unlike or not all(verdict.good for verdict in verdicts)
    if bad:
        print(trial.log)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
