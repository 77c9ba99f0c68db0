"""People and processes that the doctor's tests are about."""

from __future__ import annotations

from prom_probe.cli.doctor.identity import Identity
from prom_probe.sources.proc_pid_credentials import Credentials


def credentials(uid: int, gid: int, capabilities: int = 0) -> Credentials:
    """Of a process whose IDs are all the same."""
    return Credentials((uid,) * 4, (gid,) * 4, capabilities, capabilities)


def identity(
    uid: int = 1000,
    gid: int = 1000,
    capabilities: int = 0,
    *,
    container: bool = False,
    shared: bool = False,
    hidepid: str = "",
    subset: str = "",
) -> Identity:
    """Who we are."""
    return Identity(credentials(uid, gid, capabilities), container, shared, hidepid, subset)


def status_text(uid: int, gid: int, capabilities: int = 0) -> str:
    """/proc/PID/status of such a process."""
    return (
        f"Name:\tapp\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n"
        f"CapInh:\t0\nCapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\n"
    )
