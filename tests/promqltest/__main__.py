"""`python -m tests.promqltest [--json] FILE...`: prints failing cases, ends with `N passed, N failed, N skipped`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict

from prom_probe.model.feature import ON_BY_DEFAULT, Feature
from tests.promqltest.runner import run_script
from tests.promqltest.script import ScriptError


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 if no case failed, 1 if one did, 2 for a file that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m tests.promqltest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document: all cases, and the counts")
    parser.add_argument("--skipped", action="store_true", help="print skipped cases with their reasons too")
    parser.add_argument("--default-features", action="store_true", help="only what is on by default, not all features")
    parser.add_argument("files", nargs="+", metavar="FILE")
    options = parser.parse_args(arguments)
    features = ON_BY_DEFAULT if options.default_features else frozenset(Feature)
    counts: Counter[str] = Counter()
    cases = []
    for file in options.files:
        try:
            with open(file, encoding="utf-8") as opened:
                outcomes = list(run_script(opened.read(), features))
        except (OSError, UnicodeDecodeError, ScriptError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            return 2
        for outcome in outcomes:
            counts[outcome.status] += 1
            cases.append({"file": file, **asdict(outcome)})
            if not options.json and (outcome.status == "failed" or (options.skipped and outcome.status == "skipped")):
                print(f"{file}:{outcome.line}: {outcome.status}: {outcome.expr}\n    {outcome.reason}")
    if options.json:
        print(json.dumps({"cases": cases, **{status: counts[status] for status in ("passed", "failed", "skipped")}}))
    else:
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
