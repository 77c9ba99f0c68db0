"""Where a process's cgroups can be read: in our own mounts of the hierarchies, or in the process's.

In a container our mount shows our own cgroup and not its siblings; the process's mount, below /proc/PID/root, shows
its own.
Paths of cgroups and roots of mounts are compared, both as seen from our cgroup namespace, so that one cgroup is never
taken for another.
"""

import os
from collections.abc import Callable, Iterable

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.mountinfo import CgroupMount, parse_mountinfo
from prom_probe.sources.proc_pid_cgroup import Membership, parse_proc_pid_cgroup, read_proc_pid_cgroup
from prom_probe.sources.text import Odd, ignore

# Controller -> directory; "" is version 2's hierarchy.
Directories = dict[str, str]

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids")
_MOUNT_NAMES = ("cpu,cpuacct", "cpuacct,cpu", "unified", "systemd", *CONTROLLERS)
# Cgroups whose directories a locator remembers.
_REMEMBERED = 64


def locate_cgroups(procfs: str, pid: int, cgroupfs: str) -> Directories:
    """See `CgroupLocator.locate`, for a single use."""
    return CgroupLocator(procfs, cgroupfs).locate(pid)


class CgroupLocator:
    """Finds processes' cgroups again and again.

    Looking at directories is the expensive part. The result stays valid while the process is in the same cgroups and
    our mounts are the same, because a cgroup with a process in it cannot be removed.
    """

    def __init__(
        self, procfs: str, cgroupfs: str, stat: Callable[[str], os.stat_result] | None = None, odd: Odd = ignore
    ) -> None:
        self._stat = stat or os.stat
        self._odd = odd
        self._procfs = procfs
        self._cgroupfs = cgroupfs
        self._mounts = b""  # our mountinfo, for which `_found` is valid
        self._found: dict[bytes, Directories] = {}  # by the text of a process's cgroup file; at most _REMEMBERED

    def locate(self, pid: int) -> Directories:
        """The directories of a process's cgroups, none for a hierarchy's root: that is the whole machine.

        Raises PermissionError where they are only below a /proc/PID/root that is denied; ProcessLookupError or
        FileNotFoundError where the process is gone; ParseError.
        """
        procfs = self._procfs
        cgroups = read_proc_pid_cgroup(procfs, pid)
        mounts = read_once(f"{procfs}/self/mountinfo")
        if mounts != self._mounts or len(self._found) >= _REMEMBERED:
            self._mounts = mounts
            self._found.clear()
        found = self._found.get(cgroups)
        if found is None:
            directories: Directories = {}
            ours = [mount for mount in parse_mountinfo(mounts, self._odd) if _is_below(mount.point, self._cgroupfs)]
            missing = self._locate(parse_proc_pid_cgroup(cgroups, self._odd), ours, "", directories)
            if missing:
                theirs = parse_mountinfo(read_once(f"{procfs}/{pid}/mountinfo"), self._odd)
                self._locate(missing, theirs, f"{procfs}/{pid}/root", directories)
            found = {controller: directory for controller, directory in directories.items() if directory}
            if not missing:
                self._found[cgroups] = found
        return found.copy()

    def _locate(
        self, memberships: Iterable[Membership], mounts: list[CgroupMount], prefix: str, found: Directories
    ) -> list[Membership]:
        """Fill `found` ("" for a hierarchy's root); returns the memberships that no mount shows."""
        missing = []
        for membership in memberships:
            wanted = (
                [name for name in membership.controllers if name in CONTROLLERS] if membership.controllers else [""]
            )
            if not wanted:
                continue
            directory = next(filter(None, (self._directory(membership, mount, prefix) for mount in mounts)), None)
            if directory is None:
                missing.append(membership)
            else:
                found |= dict.fromkeys(wanted, "" if _is_hierarchy_root(directory) else directory)
        return missing

    def _directory(self, membership: Membership, mount: CgroupMount, prefix: str) -> str | None:
        """Where the mount shows the cgroup, None where it does not."""
        if set(membership.controllers) - mount.options or bool(mount.options) != bool(membership.controllers):
            return None
        if not _is_below(membership.path, mount.root):
            return None
        directory = prefix + mount.point + membership.path[len(mount.root.rstrip("/")) :]
        directory = directory.rstrip("/")
        try:
            # On another device, something else is mounted over it, or a link leads out of the process's root.
            return directory if self._stat(directory).st_dev == mount.device else None
        except PermissionError:
            raise
        except OSError:
            return None


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


def _is_below(path: str, root: str) -> bool:
    """Whether `path` is `root` or below it; a path that begins with /.. is outside our namespace's root."""
    if root == "/":
        return path != "/.." and not path.startswith("/../")
    return path == root or path.startswith(root + "/")


def _is_hierarchy_root(directory: str) -> bool:
    """In version 1 only the root has a release agent; in version 2 only the root has no cgroup.events."""
    if os.path.exists(f"{directory}/release_agent"):
        return True
    return os.path.exists(f"{directory}/cgroup.controllers") and not os.path.exists(f"{directory}/cgroup.events")
