"""Where a process's cgroups can be read: in our own mounts of the hierarchies, or in the process's.

In a container our mount shows our own cgroup and none beside it. The process's mount, below /proc/PID/root, shows its.
Paths of cgroups and roots of mounts are compared, both as seen from our cgroup namespace, so that one cgroup is never
taken for another.
"""

import os
from collections.abc import Iterable

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.mountinfo import CgroupMount, parse_mountinfo
from prom_probe.sources.proc_pid_cgroup import Membership, parse_proc_pid_cgroup, read_proc_pid_cgroup

# Controller -> directory; "" is version 2's hierarchy.
Directories = dict[str, str]

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids")
_MOUNT_NAMES = ("cpu,cpuacct", "cpuacct,cpu", "unified", "systemd", *CONTROLLERS)


def locate_cgroups(procfs: str, pid: int, cgroupfs: str) -> Directories:
    """The directories of a process's cgroups, none for a hierarchy's root: that is the whole machine.

    Raises PermissionError where they are only below a /proc/PID/root that is denied; ProcessLookupError or
    FileNotFoundError where the process is gone; ParseError.
    """
    memberships = parse_proc_pid_cgroup(read_proc_pid_cgroup(procfs, pid))
    found: Directories = {}
    ours = parse_mountinfo(read_once(f"{procfs}/self/mountinfo"))
    missing = _locate(memberships, [mount for mount in ours if _is_below(mount.point, cgroupfs)], "", found)
    if missing:
        theirs = parse_mountinfo(read_once(f"{procfs}/{pid}/mountinfo"))
        _locate(missing, theirs, f"{procfs}/{pid}/root", found)
    return {controller: directory for controller, directory in found.items() if directory}


def locate_named_cgroup(cgroupfs: str, path: str) -> Directories:
    """The directories of a cgroup that is named by its path, which may begin with the mount point."""
    if _is_below(path, cgroupfs):
        path = path[len(cgroupfs) :]
    path = path.strip("/")
    mount, _, rest = path.partition("/")
    if mount in _MOUNT_NAMES and os.path.isdir(f"{cgroupfs}/{mount}"):
        path = rest
    found: Directories = {}
    for mount in ("", *_MOUNT_NAMES):
        directory = "/".join(part for part in (cgroupfs, mount, path) if part)
        if not os.path.exists(f"{directory}/cgroup.procs") or _is_hierarchy_root(directory):
            continue
        if os.path.exists(f"{directory}/cgroup.events"):
            found[""] = directory
        else:
            found |= {controller: directory for controller in mount.split(",") if controller in CONTROLLERS}
    return found


def _locate(
    memberships: Iterable[Membership], mounts: list[CgroupMount], prefix: str, found: Directories
) -> list[Membership]:
    """Fill `found` ("" for a hierarchy's root), and give back the memberships that no mount shows."""
    missing = []
    for membership in memberships:
        wanted = [name for name in membership.controllers if name in CONTROLLERS] if membership.controllers else [""]
        if not wanted:
            continue
        directory = next(filter(None, (_directory(membership, mount, prefix) for mount in mounts)), None)
        if directory is None:
            missing.append(membership)
        else:
            found |= dict.fromkeys(wanted, "" if _is_hierarchy_root(directory) else directory)
    return missing


def _directory(membership: Membership, mount: CgroupMount, prefix: str) -> str | None:
    """Where the mount shows the cgroup, None where it does not."""
    if set(membership.controllers) - mount.options or bool(mount.options) != bool(membership.controllers):
        return None
    if not _is_below(membership.path, mount.root):
        return None
    directory = prefix + mount.point + membership.path[len(mount.root.rstrip("/")) :]
    directory = directory.rstrip("/")
    try:
        # Another device: something else is mounted over it, or a link leads out of the process's root.
        return directory if os.stat(directory).st_dev == mount.device else None
    except PermissionError:
        raise
    except OSError:
        return None


def _is_below(path: str, root: str) -> bool:
    """Whether `path` is `root` or below it; what begins with /.. is beside our namespace's root, not below it."""
    if root == "/":
        return path != "/.." and not path.startswith("/../")
    return path == root or path.startswith(root + "/")


def _is_hierarchy_root(directory: str) -> bool:
    """Version 1 has a release agent there and nowhere else; version 2 has no events there."""
    if os.path.exists(f"{directory}/release_agent"):
        return True
    return os.path.exists(f"{directory}/cgroup.controllers") and not os.path.exists(f"{directory}/cgroup.events")
