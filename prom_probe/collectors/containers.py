"""Trees for a PID namespace that a pod's containers share: one a container, named by its main command.

A container's main process has no parent that the namespace shows (its parent process ID is 0), and so has what was
started in it from outside (`kubectl exec`); its processes share a cgroup that no other container is in.
"""

from collections.abc import Collection

from prom_probe.collectors.base import Context
from prom_probe.collectors.watch import Found, decode
from prom_probe.sources.proc_pid_cgroup import read_proc_pid_cgroup
from prom_probe.sources.proc_pid_cmdline import parse_proc_pid_cmdline, read_proc_pid_cmdline

# What a container's main process is called until it runs its own program.
_STARTING = (b"runc", b"crun", b"exe", b"youki")
_PAUSE = b"pause"
_COMM_MAX = 15  # bytes that the kernel keeps of a name


class ContainersRule:
    """Every container's processes but our own container's."""

    revisit = True

    def __init__(self, context: Context) -> None:
        self._procfs = context.procfs
        self._own: Collection[int] = ()
        self._own_cgroup = self._cgroup("self")
        self._trees: dict[bytes, tuple[str, int]] = {}  # by cgroup: the tree's name, its main process
        # Without cgroups to tell containers apart, each process without a parent has a tree of its own.
        self._told_apart = self._own_cgroup != self._cgroup("1")

    def refresh(self, own: Collection[int]) -> Collection[int]:
        self._own = own
        return ()

    def match(self, found: Found) -> str | None:
        if (found.pid == 1 and found.comm == _PAUSE) or found.pid in self._own or found.ppid in self._own:
            return None
        cgroup = self._cgroup(found.pid)
        if cgroup is None or (self._told_apart and cgroup == self._own_cgroup):
            return None
        if not self._told_apart:
            cgroup = b"%d" % found.pid
        known = self._trees.get(cgroup)
        if known is not None:
            return known[0]
        if found.ppid != 0 or found.comm.split(b":")[0] in _STARTING:
            return None
        name = self._number(self._command(found))
        self._trees[cgroup] = name, found.pid
        return name

    def _cgroup(self, pid: int | str) -> bytes | None:
        try:
            return read_proc_pid_cgroup(self._procfs, pid)
        except OSError:
            return None

    def _command(self, found: Found) -> str:
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
        """`command`, or `command-2` and on where live containers have that name; a dead one's name is free again."""
        for cgroup, (_, main) in list(self._trees.items()):
            if self._cgroup(main) != cgroup and self._told_apart:
                del self._trees[cgroup]
        taken = {name for name, _ in self._trees.values()}
        name, number = command, 1
        while name in taken:
            number += 1
            name = f"{command}-{number}"
        return name

    def close(self) -> None:
        pass
