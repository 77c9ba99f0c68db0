"""The report of a run that has ended, written by a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Collection

from prom_probe.log import Log, describe_error

# COMMAND's exit status is waiting for it.
_PATIENCE_S = 120


def write_report(path: str, stored: str, blocked: Collection[int], log: Log) -> None:
    """Write the report of the run stored in a directory; if that fails, say so. `blocked`: the signals to block."""
    import subprocess  # 0.4 MB that the workers would share

    options = ["-P"] if sys.flags.safe_path else []
    argv = [sys.executable, *options, "-m", "prom_probe", "report", stored, f"--output={path}"]
    try:
        # The thread that waits is the only one, so that the child may run Python before its exec.
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, blocked),
        )
    except (OSError, subprocess.SubprocessError) as error:
        log("error", f"no report: {describe_error(error)}")
        return
    if done.returncode:
        log("error", "no report", file=path, status=done.returncode)
