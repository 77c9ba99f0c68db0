"""`prom-probe doctor` on this machine."""

import json
import os
import subprocess
import sys


def test_it_finds_this_process_readable() -> None:
    """A process of the same user, watched by its PID."""
    flags = [f"--watch=me=pid:{os.getpid()}", "--web.listen-address=127.0.0.1:0", "--api.listen-address=", "--json"]
    done = subprocess.run([sys.executable, "-m", "prom_probe", "doctor", *flags], capture_output=True, text=True)
    found = {f["source"]: f["status"] for f in json.loads(done.stdout)["findings"] if f["subject"] == "tree me"}
    assert {found[f"/proc/PID/{name}"] for name in ("stat", "statm", "io", "fd", "smaps_rollup")} == {"ok"}
