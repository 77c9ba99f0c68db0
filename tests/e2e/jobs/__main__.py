"""All scenarios, or those whose names match: `python -m tests.e2e.jobs [REGEX...]`, or --list.

Ends with status 1 if anything differs that is not in EXPECTED, or if something that is expected to differ does not.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.e2e.jobs.compare import EXPECTED, WRAP, difference, forget_dispositions
from tests.e2e.jobs.scenarios import SCENARIOS, missing

_AT_ONCE = 2


def main(patterns: list[str]) -> int:
    if patterns == ["--list"]:
        for name, (text, _) in SCENARIOS.items():
            print(f"{name:24} {text}")
        return 0
    wanted = re.compile("|".join(patterns) or ".")
    chosen = [name for name in SCENARIOS if wanted.match(name)]
    untried = {name: why for name in chosen if (why := missing(name, WRAP[0]))}
    for name, why in untried.items():
        print(f"{'untried':8} {name:24} {why}")
    tried = [name for name in chosen if name not in untried]
    differ = []
    with ProcessPoolExecutor(_AT_ONCE, initializer=forget_dispositions) as pool:
        for name, lines in zip(tried, pool.map(difference, tried), strict=True):
            print(f"{'DIFFERS' if lines else 'same':8} {name:24} {SCENARIOS[name].text}", flush=True)
            if lines:
                differ.append(name)
                print(*(f"         {line}" for line in lines), sep="\n", flush=True)
    expected = {name for name in EXPECTED if name in tried}
    for name in sorted(expected):
        print(f"expected to differ: {name}: {EXPECTED[name]}")
    print(f"{len(tried)} scenarios, {len(differ)} differ, {len(untried)} untried: {' '.join(differ)}")
    return 0 if set(differ) == expected else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
