"""Whether we run in a container, and whether it shares its PID namespace with others."""

import os

from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_stat import ProcPidStat, parse_proc_pid_stat, read_proc_pid_stat

_PAUSE = b"pause"
_KTHREADD = b"kthreadd"

# What container runtimes leave in a container's root, and Kubernetes in a pod's.
_MARKS = (".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io")
# The machine's own namespaces have fixed numbers (include/linux/proc_ns.h, PROC_PID_INIT_INO and PROC_CGROUP_INIT_INO).
_INITIAL = {"pid": "pid:[4026531836]", "cgroup": "cgroup:[4026531835]"}


def in_container(procfs: str, root: str = "/") -> bool:
    """Whether we are in a container: by its marks, or by a PID or cgroup namespace that is not the machine's."""
    if any(os.path.exists(os.path.join(root, mark)) for mark in _MARKS):
        return True
    for kind, initial in _INITIAL.items():
        try:
            if os.readlink(f"{procfs}/self/ns/{kind}") != initial:
                return True
        except OSError:
            continue  # a kernel without this kind of namespace
    return False


def in_shared_pid_namespace(procfs: str) -> bool:
    """Whether several containers share our PID namespace: then a process other than PID 1 has no parent in it."""
    first = _stat(procfs, 1)
    if first is not None and first.comm == _PAUSE:
        return True
    for name in os.listdir(procfs):
        if name.isdigit() and name != "1":
            stat = _stat(procfs, int(name))
            if stat is not None and stat.ppid == 0 and stat.comm != _KTHREADD:
                return True
    return False


def _stat(procfs: str, pid: int) -> ProcPidStat | None:
    try:
        return parse_proc_pid_stat(read_proc_pid_stat(procfs, pid))
    except (OSError, ParseError):
        return None
