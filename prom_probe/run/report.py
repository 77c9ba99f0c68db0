"""The report of a run that has ended, written by a process of its own."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Collection

from prom_probe.log import Log, describe_error

# COMMAND's exit status is waiting for it.
_PATIENCE_S = 120.0

_GIVE_UP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_LOOK_S = 0.05


def write_report(path: str, stored: str, blocked: Collection[int], log: Log) -> None:
    """Write the report of the run stored in a directory; if that fails, say so.

    Every signal is blocked here, and `blocked` in the process that writes. A signal that asks us to end ends that one;
    what came before, for COMMAND perhaps, does not.
    """
    import subprocess  # 0.4 MB that the workers would share

    while early := signal.sigpending() & _GIVE_UP:
        signal.sigwait(early)
    options = ["-P"] if sys.flags.safe_path else []
    argv = [sys.executable, *options, "-m", "prom_probe", "report", stored, f"--output={path}"]
    try:
        # This process has one thread, so that the child may run Python before its exec.
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, blocked),
        )
    except (OSError, subprocess.SubprocessError) as error:
        log("error", f"no report: {describe_error(error)}")
        return
    end_s = time.monotonic() + _PATIENCE_S
    while child.poll() is None:
        if signal.sigpending() & _GIVE_UP or time.monotonic() > end_s:
            child.kill()
        time.sleep(_LOOK_S)
    if child.returncode:
        log("error", "no report", file=path, status=child.returncode)
