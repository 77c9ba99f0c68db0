"""`prom-probe top` in tmux over real runs: live, back in time, resized, while its source goes, comes back and ends."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from tests.support.sidecar import Sidecar
from tests.support.tmux import Tmux
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the program names its processes as Linux does")

TOP = (sys.executable, "-m", "prom_probe", "top")
MIB = 200
HOSTILE = "\x1b]2;x\x07[red]"
ESCAPED = r"\x1b]2;x\x07[red]"

# A process that stays, one with a hostile name, and one that once has 200 MiB for three seconds: its PID and a time
# before its end are written to argv[1].
PROGRAM = f"""
import json, os, sys, time

is_ready, ready = os.pipe()

def begin(name, seconds, mib=0):
    pid = os.fork()
    if pid == 0:
        open("/proc/self/comm", "w").write(name)
        block = bytearray(b"x") * (mib << 20)
        os.write(ready, b"x")
        time.sleep(seconds)
        os._exit(0)
    return pid

begin("steady", 600)
begin({HOSTILE!r}, 600)
os.read(is_ready, 1)
os.read(is_ready, 1)
time.sleep(2)
pid = begin("culprit", 3.2, {MIB})
os.read(is_ready, 1)
has_it = time.time()
os.waitpid(pid, 0)
open(sys.argv[1] + ".new", "w").write(json.dumps([pid, round(has_it + 2.8, 3)]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def row_of(screen: list[str], name: str) -> str:
    """The table's row of a process, "" for none; events begin with their time."""
    rows = (line for line in screen if not re.match(r"\d\d:\d\d:\d\d ", line))
    return next((line for line in rows if re.search(rf"\d+ (?:[├└]─ )?{name}\b", line)), "")


def test_a_spike_is_found_back_in_time_and_a_source_comes_back(tmp_path: Path) -> None:
    """In a window that changes its size; the culprit's PID is the one that the program wrote down."""
    file, socket = tmp_path / "truth", f"unix:{tmp_path}/api"
    listen = [f"--api.listen-address={socket}"]
    command = ("--", sys.executable, "-c", PROGRAM, str(file))
    with Sidecar(*command, flags=listen) as sidecar, Tmux([*TOP, socket]) as terminal:
        terminal.until(
            "live",
            lambda screen: "  live  " in screen[0] and row_of(screen, "steady") and ESCAPED in "\n".join(screen),
        )
        wait_for("the spike", file.exists)
        pid, then = json.loads(file.read_text())
        terminal.type(f"t{then:.3f}\r")  # as fast as a paste: none of it may be lost
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
        screen = terminal.until("the spike", lambda screen: screen[0].startswith(clock) and "  paused, " in screen[0])
        found = re.search(r"(\d+) [├└]─ culprit .* (\d+(?:\.\d+)?) MiB", row_of(screen, "culprit"))
        assert found and int(found[1]) == pid and MIB <= float(found[2]) < MIB + 50
        wait_for("time to have passed", lambda: time.time() > then + 4)
        terminal.press(*["S-Left"] * 3)
        terminal.until("half a minute before", lambda screen: "there are samples from" in "\n".join(screen))
        terminal.press(*["S-Right"] * 3, *["Right"] * 3)
        screen = terminal.until("just after it", lambda screen: "ended" in row_of(screen, "culprit"))
        assert re.search(r"\(ended \d s ago\) .* peak 2\d\d", row_of(screen, "culprit"))
        terminal.resize(80, 24)
        screen = terminal.until("the new size", lambda screen: "MEMORY▼" in screen[2] and "READ" not in screen[2])
        assert row_of(screen, "culprit") and len(screen) <= 24 and max(map(len, screen)) <= 80
        terminal.press("Space")
        terminal.until("live", lambda screen: "  live  " in screen[0] and not row_of(screen, "culprit"))
        sidecar.process.terminate()
        sidecar.wait()
        terminal.until("no answer", lambda screen: "no answer from unix:" in screen[0] and row_of(screen, "steady"))
        with Sidecar("--", "sleep", "600", flags=listen):
            terminal.until("another run", lambda screen: "  live  sleep 600" in screen[0] and row_of(screen, "sleep"))


def test_a_source_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """And nothing is drawn."""
    with Tmux([*TOP, f"unix:{tmp_path}/api"]) as terminal:
        screen = terminal.until("its end", lambda screen: "ended with 1" in "\n".join(screen))
        assert screen[0].startswith("prom-probe: no answer from unix:")


def test_a_run_that_ends_is_shown_on(tmp_path: Path) -> None:
    """Without a SOURCE it is the newest run that goes on; then what it has stored."""
    env = {"XDG_STATE_HOME": str(tmp_path), "PROM_PROBE_URL": ""}
    with Sidecar("--", "sleep", "600", flags=["--run.keep=3"], env=env) as sidecar:
        enough = "count_over_time(proctree_process_resident_memory_bytes[1m]) >= 4"
        wait_for("some seconds to look back on", lambda: sidecar.query(enough))
        with Tmux(TOP, env=env) as terminal:
            terminal.until("live", lambda screen: "  live  sleep 600" in screen[0] and row_of(screen, "sleep"))
            sidecar.process.terminate()
            sidecar.wait()
            terminal.until("the end", lambda screen: "  ended, killed by SIGTERM  sleep 600" in screen[0])
            terminal.press("Left")
            terminal.until("a second before", lambda screen: "paused" in screen[0] and row_of(screen, "sleep"))
            terminal.press("q")
            terminal.until("no more", lambda screen: "ended with 0" in "\n".join(screen))
