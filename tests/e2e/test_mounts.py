"""Filesystems on the real kernel: mounts that hide others, in a mount namespace of their own, beside df."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs mount namespaces")

# What both say of the filesystems below a directory: df's rows, then the collector's row.
_BOTH = """
df --block-size=1 --output=source,target,size,avail
echo --
exec {python} -c '
import json, time
from prom_probe.collectors.base import Context
from prom_probe.collectors.system.collector import SystemCollector
from tests.support.collector_harness import values
collector = SystemCollector(Context())
deadline = time.monotonic() + 100
while "system_filesystem_size_bytes" not in str(row := values(collector)) and time.monotonic() < deadline:
    collector.collect()
print(json.dumps(row))'
"""

_TMPFS = "mkdir -p {0} && mount -t tmpfs -o size={1}k of-{1} {0}"


def tmpfs(point: str, kib: int) -> str:
    return _TMPFS.format(point, kib)


# What is mounted, in order, below the working directory; and what can be seen afterwards.
CASES: dict[str, tuple[list[str], set[str]]] = {
    "over a parent (node_exporter#2470)": ([tmpfs("a/b", 400), tmpfs("a", 800), "mkdir a/b"], {"a"}),
    "over a grandparent": ([tmpfs("a/b/c", 400), tmpfs("d", 600), tmpfs("a", 800), "mkdir -p a/b/c"], {"a", "d"}),
    "twice at one place": ([tmpfs("a", 400), tmpfs("a", 800)], {"a"}),
    "anew on the cover": ([tmpfs("a/b", 400), tmpfs("a", 800), tmpfs("a/b", 1200)], {"a", "a/b"}),
    "the cover is gone again": ([tmpfs("a/b", 400), tmpfs("a", 800), "umount a"], {"a/b"}),
    "over a child alone": ([tmpfs("a", 400), tmpfs("a/b", 800)], {"a", "a/b"}),
    "in two places": ([tmpfs("a", 400), "mkdir b && mount --bind a b"], {"a"}),
    "a name that begins alike": ([tmpfs("ab", 400), tmpfs("a", 800)], {"a", "ab"}),
    "names with a carriage return and a space": (
        [tmpfs('"$(printf "x\\ry z")"', 400), tmpfs("a", 800)],
        {"x\ry z", "a"},
    ),
    "moved onto a hidden one's place": ([tmpfs("a/b", 400), tmpfs("c", 800), "mount --move c a && mkdir a/b"], {"a"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_filesystem_that_no_path_leads_to_has_no_series(tmp_path: Path, case: str) -> None:
    """The others have their own size and room, as df has."""
    mounts, seen = CASES[case]
    script = "\n".join(["set -e", "mount --make-rprivate /", f"cd {tmp_path}", *mounts, "set +e", f"cd {ROOT}"])
    argv = ["unshare", "--mount", "sh", "-c", script + _BOTH.format(python=sys.executable)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode and "not permitted" in done.stderr:
        pytest.skip(done.stderr.strip())
    rows, _, ours = done.stdout.partition("--\n")
    assert ours, done.stderr
    row = json.loads(ours)
    below = f"{tmp_path}/"
    theirs = {}
    for line in rows.split("\n")[1:-1]:
        source, rest = line.split(maxsplit=1)
        target, size, avail = rest.rsplit(maxsplit=2)
        if target.startswith(below):
            theirs[source, target.removeprefix(below)] = float(size), float(avail)
    found = {}
    for series, size in row.items():
        if series.startswith("system_filesystem_size_bytes") and below in series:
            labels = series.removeprefix("system_filesystem_size_bytes")
            source = labels.split('"')[1]
            point = json.loads(labels.partition("mountpoint=")[2].rstrip("}"), strict=False)
            found[source, point.removeprefix(below)] = size, row[f"system_filesystem_avail_bytes{labels}"]
    assert sorted(point for _, point in found) == sorted(seen)
    assert {(source, point.replace("\r", "?")): numbers for (source, point), numbers in found.items()} == theirs
