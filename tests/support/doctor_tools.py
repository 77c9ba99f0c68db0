"""Identities, process files and denied files for the doctor's tests."""

from __future__ import annotations

import os

from prom_probe.cli.doctor.access import Access
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


class DeniedAccess(Access):
    """The real files, but the kernel denies every path that ends like one of these, and all use for which we ask."""

    def __init__(self, *endings: str) -> None:
        self._endings = endings

    def _check(self, path: str) -> None:
        if path.endswith(self._endings):
            raise PermissionError(13, "Permission denied", path)

    def read(self, path: str) -> bytes:
        self._check(path)
        return super().read(path)

    def list(self, path: str) -> list[str]:
        self._check(path)
        return super().list(path)

    def stat(self, path: str) -> os.stat_result:
        self._check(path)
        return super().stat(path)

    def may(self, path: str, mode: int) -> bool:
        return False

    def try_process_file(self, procfs: str, pid: int, name: str) -> None:
        self._check(f"{procfs}/{pid}/{name}")
        super().try_process_file(procfs, pid, name)
