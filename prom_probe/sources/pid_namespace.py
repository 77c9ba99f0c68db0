"""/proc/self: which PID namespace a procfs belongs to (pid_namespaces(7))."""

import os

# The machine's own PID namespace has a fixed number (include/linux/proc_ns.h, PROC_PID_INIT_INO).
_INITIAL = "pid:[4026531836]"


def is_own_namespace(procfs: str) -> bool:
    """Whether the PIDs in `procfs` are those of our own PID namespace."""
    try:
        return os.readlink(f"{procfs}/self") == str(os.getpid())
    except OSError:
        return False


def has_host_pids(procfs: str) -> bool:
    """Whether the PIDs in `procfs` are the machine's: it is not of our namespace, or ours is the machine's."""
    return not is_own_namespace(procfs) or is_initial_namespace(procfs)


def is_initial_namespace(procfs: str) -> bool:
    """Whether our own PID namespace is the machine's."""
    try:
        return os.readlink(f"{procfs}/self/ns/pid") == _INITIAL
    except OSError:
        return False
