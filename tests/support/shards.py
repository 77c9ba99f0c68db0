"""A COMMAND whose children write down what they were: PID, names, peak, exit status; see `SHARDS`.

Each child takes memory, holds it, perhaps executes another program, and ends in a way of its own; COMMAND ends with 3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple


class Shard(NamedTuple):
    """A child: its name, the MiB it takes, and how it ends: an exit status, or minus the signal that kills it."""

    name: str
    mib: int
    ends: int


SHARDS = (Shard("small", 8, 0), Shard("large", 150, 7), Shard("killed", 40, -9))

# What a child runs: it takes its name and its memory, writes what it had, and ends.
CHILD = """
import json, os, resource, sys, time
name, mib, ends, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
open("/proc/self/comm", "w").write(name)
block = bytearray(b"x") * (mib << 20)
time.sleep(2.6)
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
cpu = resource.getrusage(resource.RUSAGE_SELF)
with open(f"{out}/{os.getpid()}", "w") as file:
    json.dump({"pid": os.getpid(), "name": name, "peak": peak,
               "cpu": cpu.ru_utime + cpu.ru_stime, "end": time.time()}, file)
os.kill(os.getpid(), -ends) if ends < 0 else os._exit(ends)
"""

# Starts the children as orphans, so that the supervisor reaps them, and one that it reaps itself; then a shell that
# becomes another program.
COMMAND = """
import os, subprocess, sys, time
child, out = sys.argv[1], sys.argv[2]
for shard in sys.argv[3:]:
    if os.fork() == 0:
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-S", child, *shard.split(":"), out])
        os._exit(0)
    os.wait()
shell = subprocess.Popen(["sh", "-c", "sleep 1.6; exec sleep 1.5"])
shell.wait()
time.sleep(1.2)
sys.exit(3)
"""


def shards_command(folder: Path) -> list[str]:
    """COMMAND's arguments after the interpreter; the children write into `folder`."""
    (folder / "child.py").write_text(CHILD)
    (folder / "shards.py").write_text(COMMAND)
    (folder / "out").mkdir()
    shards = [f"{shard.name}:{shard.mib}:{shard.ends}" for shard in SHARDS]
    return [str(folder / "shards.py"), str(folder / "child.py"), str(folder / "out"), *shards]


def told_by_children(folder: Path) -> dict[str, dict[str, float]]:
    """What each child said of itself, by name."""
    return {one["name"]: one for file in (folder / "out").iterdir() for one in [json.loads(file.read_text())]}
