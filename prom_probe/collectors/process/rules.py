"""The rules by which a process belongs to a watch: a class for each kind of watch, and the table of kinds."""

import os
from collections.abc import Callable, Collection

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.containers import ContainersRule
from prom_probe.collectors.process.rule import Candidate, RuleTable, decode
from prom_probe.model.watch import Watch
from prom_probe.sources.cgroup_procs import CgroupProcs, find_cgroup
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_cmdline import parse_proc_pid_cmdline, read_proc_pid_cmdline
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat, read_proc_pid_stat

# Refreshes between two searches for new cgroups below a watched one.
_WALK_EVERY = 10


class PidRule:
    """A process; if it is our supervisor's child, also those of its orphans that the supervisor adopts."""

    revisit = lists = False

    def __init__(self, watch: Watch, context: Context) -> None:
        self.name = watch.name
        try:
            self.pid = int(watch.value)
        except ValueError:
            raise ValueError(f"watch {watch.name!r}: {watch.value!r} is not a process ID") from None
        self.root_start = 0
        self._own: Collection[int] = ()
        self._adopter = 0
        self._adopter_stack = 0
        self._procfs = context.procfs

    def refresh(self, own: Collection[int]) -> Collection[int]:
        self._own = own
        return ()

    def match(self, found: Candidate) -> str | None:
        if found.pid == self.pid and self.root_start in (0, found.start):
            self.root_start = found.start
            if found.ppid in self._own and found.ppid != self._adopter:
                self._adopter, self._adopter_stack = found.ppid, read_stack(self._procfs, found.ppid)
            return self.name
        if self._adopter and found.ppid == self._adopter and self._is_orphan(found):
            return self.name
        return None

    def _is_orphan(self, found: Candidate) -> bool:
        """Whether a child of the supervisor is an orphan, and not a worker that is not known as ours yet.

        A worker executes no program: its stack begins where the supervisor's does. Where that is not known, only a
        second look tells.
        """
        if self._adopter_stack and found.stack:
            return found.stack != self._adopter_stack
        return found.again

    @property
    def adopter(self) -> int:
        return self._adopter

    def close(self) -> None:
        pass


class CommRule:
    """A regex that matches the whole command name."""

    revisit = True
    lists = False

    def __init__(self, watch: Watch, context: Context) -> None:
        self.name = watch.name
        self._matches = _compile(watch)

    def refresh(self, own: Collection[int]) -> Collection[int]:
        return ()

    def match(self, found: Candidate) -> str | None:
        return self.name if self._matches(decode(found.comm)) else None

    def close(self) -> None:
        pass


class CmdlineRule:
    """A regex that matches the whole command line, its arguments joined by spaces."""

    revisit = True
    lists = False

    def __init__(self, watch: Watch, context: Context) -> None:
        self.name = watch.name
        self._matches = _compile(watch)
        self._procfs = context.procfs
        self._context = context
        self._said: set[int] = set()  # the PIDs of processes of which it is logged that they do not answer

    def refresh(self, own: Collection[int]) -> Collection[int]:
        return ()

    def match(self, found: Candidate) -> str | None:
        arguments = self.arguments(found.pid)
        return self.name if arguments and self._matches(" ".join(arguments)) else None

    def arguments(self, pid: int) -> list[str]:
        """The arguments of a process; none where it is gone, or does not answer."""
        try:
            return parse_proc_pid_cmdline(read_proc_pid_cmdline(self._procfs, pid))
        except TimeoutError as error:
            if pid not in self._said:
                self._said.add(pid)
                self._context.log("warn", f"watch {self.name!r}: {error}")
            return []
        except OSError:
            return []

    def close(self) -> None:
        pass


class CgroupRule:
    """The processes of a cgroup and of the cgroups below it."""

    revisit = False
    lists = True

    def __init__(self, watch: Watch, context: Context) -> None:
        self.name = watch.name
        self._path = watch.value
        self._context = context
        self._procs: CgroupProcs | None = None
        self._pids: set[int] = set()
        self._calls = 0
        self._said = ""

    def refresh(self, own: Collection[int]) -> Collection[int]:
        if self._calls % _WALK_EVERY == 0 or self._procs is None:
            self._walk()
        self._calls += 1
        try:
            self._pids = self._read()
            if self._procs is not None and not self._procs.is_complete():  # one was removed, made, or made anew
                self._walk()
                self._pids |= self._read()
        except (PermissionError, ParseError) as error:
            self._pids = set()
            self._say(f"cannot be listed: {error}")
        self._pids.discard(0)
        return self._pids

    def _read(self) -> set[int]:
        return set() if self._procs is None else set(self._procs.read())

    def _walk(self) -> None:
        if self._procs is None or not os.path.exists(f"{self._procs.directory}/cgroup.procs"):
            directory = find_cgroup(self._context.cgroupfs, self._path)
            self.close()
            if directory is None:
                self._say(f"is not there (below {self._context.cgroupfs})")
                return
            self._procs = CgroupProcs(directory, self._context.descriptors)
        self._procs.walk()

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            self._context.log("warn", f"watch {self.name!r}: cgroup {self._path!r} {what}")

    def match(self, found: Candidate) -> str | None:
        return self.name if found.pid in self._pids else None

    def close(self) -> None:
        if self._procs is not None:
            self._procs.close()
            self._procs = None


def read_stack(procfs: str, pid: int) -> int:
    """Where a process's stack begins; 0 for not known."""
    try:
        return parse_proc_pid_stat(read_proc_pid_stat(procfs, pid)).startstack
    except (OSError, ParseError):
        return 0


def _compile(watch: Watch) -> Callable[[str], object]:
    import re

    try:
        return re.compile(watch.value, re.DOTALL).fullmatch
    except re.error as error:
        raise ValueError(f"watch {watch.name!r}: {watch.value!r} is not a regex: {error}") from None


RULES: RuleTable = {
    "pid": PidRule,
    "comm": CommRule,
    "cmdline": CmdlineRule,
    "cgroup": CgroupRule,
    "containers": ContainersRule,
}
