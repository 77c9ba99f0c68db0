"""Trees for a PID namespace that a pod's containers share: one for each container, named by its main command.

A container's main process has no parent in the namespace (its parent's PID is 0). The same holds for a process that was
started in it from outside (`kubectl exec`), but later. A container's processes share a cgroup of their own.
"""

import os
from collections.abc import Collection

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.rule import Candidate, decode
from prom_probe.model.watch import Watch
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_cgroup import read_proc_pid_cgroup
from prom_probe.sources.proc_pid_cmdline import parse_proc_pid_cmdline, read_proc_pid_cmdline
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat, read_proc_pid_stat

# Names of a container's main process until it executes its own program.
_STARTING = (b"runc", b"crun", b"exe", b"youki")
_PAUSE = b"pause"
_COMM_MAX = 15  # bytes of a name that the kernel keeps
_MAX_STRAYS = 1000


class ContainersRule:
    """The processes of every container except our own."""

    revisit = True
    lists = False

    def __init__(self, watch: Watch, context: Context) -> None:
        self._procfs = context.procfs
        self._own: Collection[int] = ()
        self._own_cgroup = self._cgroup("self")
        self._trees: dict[bytes, tuple[str, int]] = {}  # by cgroup: the tree's name, its main process
        self._strays: set[bytes] = set()  # cgroups that belong to no container
        # Where cgroups do not distinguish containers, each process without a parent gets a tree of its own.
        self._cgroups_differ = self._own_cgroup != self._cgroup("1")

    def refresh(self, own: Collection[int]) -> Collection[int]:
        self._own = own
        return ()

    def match(self, found: Candidate) -> str | None:
        if _is_pause(found) or found.pid in self._own or found.ppid in self._own:
            return None
        cgroup = self._cgroup(found.pid)
        if cgroup is None:
            return None
        if not self._cgroups_differ:
            if found.ppid == 0 and not _is_starting(found):
                self._name(b"%d" % found.pid, found)
            known = self._trees.get(b"%d" % found.pid)
            return known[0] if known is not None else None
        if cgroup == self._own_cgroup:
            return None
        # The process may be an orphan, or started from outside: the container is named by its main process.
        if cgroup not in self._trees and (found.ppid == 0 or cgroup not in self._strays):
            self._name_all(cgroup)
        known = self._trees.get(cgroup)
        return known[0] if known is not None else None

    def _name_all(self, wanted: bytes) -> None:
        """Name all containers without a name, oldest first, so that numbers do not depend on the order of discovery."""
        mains: dict[bytes, Candidate] = {}
        for name in os.listdir(self._procfs):
            found = self._look(int(name)) if name.isdigit() else None
            if found is None or found.ppid != 0 or _is_pause(found) or found.pid in self._own:
                continue
            cgroup = self._cgroup(found.pid)
            if cgroup is None or cgroup == self._own_cgroup:
                continue
            known = mains.get(cgroup)
            if known is None or (found.start, found.pid) < (known.start, known.pid):
                mains[cgroup] = found
        for cgroup, found in sorted(mains.items(), key=lambda item: (item[1].start, item[1].pid)):
            if not _is_starting(found):
                self._name(cgroup, found)
        self._strays.difference_update(mains)
        if wanted not in mains and len(self._strays) < _MAX_STRAYS:
            self._strays.add(wanted)

    def _name(self, cgroup: bytes, main: Candidate) -> None:
        if cgroup not in self._trees:
            self._trees[cgroup] = self._number(self._command(main)), main.pid

    def _look(self, pid: int) -> Candidate | None:
        try:
            stat = parse_proc_pid_stat(read_proc_pid_stat(self._procfs, pid))
        except (OSError, ParseError):
            return None
        return Candidate(pid, stat.ppid, stat.starttime, stat.comm, False)

    def _cgroup(self, pid: int | str) -> bytes | None:
        try:
            return read_proc_pid_cgroup(self._procfs, pid)
        except OSError:
            return None

    def _command(self, found: Candidate) -> str:
        comm = decode(found.comm)
        if len(found.comm) < _COMM_MAX:
            return comm
        try:
            arguments = parse_proc_pid_cmdline(read_proc_pid_cmdline(self._procfs, found.pid))
        except OSError:
            return comm
        basename = arguments[0].rpartition("/")[2] if arguments else ""
        return basename if basename.startswith(comm) else comm

    def _number(self, command: str) -> str:
        """`command`, or `command-2` and so on where live containers have that name; a dead one's name is free again."""
        for cgroup, (_, main) in list(self._trees.items()):
            there = self._cgroup(main)
            if there is None or (self._cgroups_differ and there != cgroup):
                del self._trees[cgroup]
        taken = {name for name, _ in self._trees.values()}
        name, number = command, 1
        while name in taken:
            number += 1
            name = f"{command}-{number}"
        return name

    def close(self) -> None:
        pass


def _is_pause(found: Candidate) -> bool:
    return found.pid == 1 and found.comm == _PAUSE


def _is_starting(found: Candidate) -> bool:
    return found.comm.split(b":")[0] in _STARTING
