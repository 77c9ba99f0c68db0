"""Checks whether each watch finds processes, and which of their files can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prom_probe.cli.doctor.access import ACCESS, Access
from prom_probe.cli.doctor.finding import Finding, Status
from prom_probe.cli.doctor.identity import Denial, Identity, explain_denial
from prom_probe.collectors.base import Context
from prom_probe.collectors.process.roster import Roster
from prom_probe.model.watch import Watch
from prom_probe.sources.cgroup_procs import find_cgroup
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_credentials import parse_proc_pid_credentials
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat, read_proc_pid_stat

_GONE = (ProcessLookupError, FileNotFoundError)
# How many different reasons are shown for one source.
_MAX_REASONS = 3


class _File(NamedTuple):
    """A file of a process: what is missing without it, and which kernels lack it."""

    name: str
    without: str
    kernel: str
    optional: bool = False  # watching a tree does not ask for it


_FILES = (
    _File("stat", "the tree has no metrics", ""),
    _File("statm", "no resident and virtual memory", ""),
    _File("io", "no proctree_io_* metrics", "the kernel is built without CONFIG_TASK_IO_ACCOUNTING"),
    _File("fd", "no proctree_open_fds", ""),
    _File("smaps_rollup", "no PSS and USS", "the kernel is older than 4.14", True),
    _File("schedstat", "no run-queue delay", "the kernel is built without CONFIG_SCHED_INFO", True),
)

_WAIT = "nothing, if it has not started yet"
_POD = (
    "set shareProcessNamespace: true in the pod's spec (docker run --pid=container:NAME); or start the program by "
    "prom-probe run -- COMMAND"
)


class Member(NamedTuple):
    """A process of a tree; `start` in ticks since boot."""

    pid: int
    start: int


def find_trees(context: Context) -> dict[str, list[Member]]:
    """The processes of each watched tree as a collector finds them, the oldest first."""
    roster = Roster(context)
    try:
        trees: dict[str, list[Member]] = {}
        for found, place in roster.refresh():
            trees.setdefault(place.tree, []).append(Member(found.pid, found.start))
        return {name: sorted(members, key=lambda member: member.start) for name, members in trees.items()}
    finally:
        roster.close()


def check_watches(context: Context, us: Identity, trees: dict[str, list[Member]]) -> Iterator[Finding]:
    """A finding for each watch that has no process."""
    if not context.watches:
        change = (
            _POD if us.container else "give --watch=NAME=KIND:VALUE; or start the program by prom-probe run -- COMMAND"
        )
        yield Finding("watch", "/proc", "absent", "no --watch: only the system is sampled", change=change)
    for watch in context.watches:
        if watch.kind == "containers" and not trees:
            yield Finding("watch", "/proc", "missing", reason="no other container has a process yet", change=_WAIT)
        elif watch.kind != "containers" and watch.name not in trees:
            reason, change = _explain_empty(context, us, watch)
            subject = f"watch {watch.name}={watch.kind}:{watch.value}"
            yield Finding(subject, "/proc", "missing", "no process", reason, change, "proctree_processes is 0")


def _explain_empty(context: Context, us: Identity, watch: Watch) -> Denial:
    if watch.kind == "cgroup":
        if find_cgroup(context.cgroupfs, watch.value) is None:
            where = (
                " a container sees only its own cgroups: watch by pid, comm or cmdline there;" if us.container else ""
            )
            return Denial(
                f"there is no such cgroup below {context.cgroupfs}",
                f"{where} write the path as /proc/PID/cgroup has it".strip(),
            )
        return Denial("the cgroup exists, but has no process that we see", _WAIT)
    if us.container and not us.shared:
        return Denial("we are in a container that sees only its own processes", _POD)
    if us.hidepid and us.credentials.uids[1] != 0:
        return Denial(
            f"{context.procfs} is mounted with hidepid={us.hidepid}: other users' processes are hidden",
            "run prom-probe as the program's user; or mount it with hidepid=0, or with gid= a group of ours",
        )
    if watch.kind == "pid":
        return Denial(f"there is no process {watch.value} in our PID namespace", "give the PID as ps shows it here")
    what = "name (of which the kernel keeps 15 bytes)" if watch.kind == "comm" else "command line"
    return Denial(
        f"no process has a {what} that matches {watch.value!r} as a whole", f"{_WAIT}; else see what ps shows here"
    )


def check_files(
    context: Context, us: Identity, tree: str, members: Iterable[Member], pss: bool, access: Access = ACCESS
) -> Iterator[Finding]:
    """A finding for each file of a tree's processes, or one for each reason why it cannot be read.

    `pss`: whether the settings ask for PSS.
    """
    pids = [member.pid for member in members if not _is_zombie(context.procfs, member.pid)]
    for file in _FILES:
        denials: Counter[Denial] = Counter()
        readable = 0
        for pid in pids:
            try:
                denial = _check(context, us, pid, file, access)
            except _GONE:
                continue
            if denial is None:
                readable += 1
            else:
                denials[denial] += 1
        total = readable + denials.total()
        source, subject = f"/proc/PID/{file.name}", f"tree {tree}"
        if not denials:
            yield Finding(subject, source, "ok", f"of {_count(total)}")
        status: Status = "absent" if file.optional and not (pss and file.name == "smaps_rollup") else "missing"
        for denial, count in denials.most_common(_MAX_REASONS):
            detail = f"{count} of {_count(total)} {'denies' if count == 1 else 'deny'} it"
            yield Finding(subject, source, status, detail, *denial, file.without)


def _is_zombie(procfs: str, pid: int) -> bool:
    """A process that has ended has no files left to read."""
    try:
        return parse_proc_pid_stat(read_proc_pid_stat(procfs, pid)).state in (b"Z", b"X")
    except (OSError, ParseError):
        return False


def _count(number: int) -> str:
    return f"{number} process" if number == 1 else f"{number} processes"


def _check(context: Context, us: Identity, pid: int, file: _File, access: Access) -> Denial | None:
    """None if the file can be read. Raises ProcessLookupError or FileNotFoundError if the process is gone."""
    base = f"{context.procfs}/{pid}"
    try:
        access.try_process_file(context.procfs, pid, file.name)
    except PermissionError:
        return deny(context.procfs, us, pid, access)
    except FileNotFoundError:
        access.stat(f"{base}/stat")  # raises if the process is gone
        return Denial(file.kernel or f"the kernel does not have {file.name}", "use another kernel")
    except ProcessLookupError:
        if file.name == "smaps_rollup":
            return None  # a zombie or a kernel thread has no memory
        raise
    except OSError as error:
        return Denial(str(error), "")
    return None


def deny(procfs: str, us: Identity, pid: int, access: Access) -> Denial:
    """Why a process's files are denied to us. Raises ProcessLookupError or FileNotFoundError if it is gone."""
    try:
        theirs = parse_proc_pid_credentials(access.read(f"{procfs}/{pid}/status"))
    except (PermissionError, ParseError):
        if us.hidepid:
            return Denial(
                f"{procfs} is mounted with hidepid={us.hidepid}: other users' processes cannot be read",
                "run prom-probe as the program's user; or mount it with hidepid=0, or with gid= a group of ours",
            )
        return Denial(
            "even /proc/PID/status is denied, by a security module or a mount option", "see how /proc is mounted"
        )
    return explain_denial(us, theirs, access.stat(f"{procfs}/{pid}/status").st_uid == theirs.uids[1])
