"""cgroup.procs: the processes of a cgroup and of the cgroups below it, orphans included (cgroups(7))."""

import errno
import os

from prom_probe.sources.descriptors import Descriptors, KeptFile, read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, ignore, number, rows

SOURCE = "cgroup.procs"

# Where hierarchies are mounted: version 2 alone, version 2 together with version 1, then version 1's controllers.
_HIERARCHIES = ("", "/unified", "/systemd", "/memory", "/cpu,cpuacct", "/cpu", "/pids")


def parse_cgroup_procs(data: bytes, odd: Odd = ignore) -> list[int]:
    """PIDs in our PID namespace; 0 for a process outside it. Raises ParseError if no row is good."""
    try:
        return list(map(number, data.split()))
    except ValueError:
        pass
    pids = []
    for row in rows(data):
        try:
            pids.append(number(row))
        except ValueError:
            odd(row)
    if not pids:
        raise ParseError(SOURCE, data)
    return pids


def find_cgroup(cgroupfs: str, path: str) -> str | None:
    """The directory of cgroup `path`, which may begin with the mount point; None where there is none."""
    if path.startswith(f"{cgroupfs}/") and os.path.exists(f"{path}/cgroup.procs"):
        return path.rstrip("/")
    path = path.strip("/")
    for hierarchy in _HIERARCHIES:
        directory = f"{cgroupfs}{hierarchy}/{path}"
        if os.path.exists(f"{directory}/cgroup.procs"):
            return directory.rstrip("/")
    return None


class CgroupProcs:
    """The cgroup.procs of a directory and of all directories below it, kept open where that is version 2's.

    In version 1 a second reading of a descriptor within a second gives the earlier list again (pidlist_array_load in
    kernel/cgroup/cgroup-v1.c), so there each reading opens the file.
    """

    def __init__(self, directory: str, descriptors: Descriptors) -> None:
        self.directory = directory
        self._descriptors = descriptors
        self._kept = os.path.exists(f"{directory}/cgroup.controllers")
        self._files: dict[str, KeptFile] = {}
        self._links: dict[str, int] = {}  # of each directory: one for each below it
        self._lost = False  # whether one was removed since the last walk

    def walk(self) -> None:
        """Find the cgroups that have been made below since the last walk."""
        self._lost = False
        pending = [self.directory]
        while pending:
            directory = pending.pop()
            if directory not in self._files:
                self._files[directory] = KeptFile(f"{directory}/cgroup.procs", self._descriptors)
            self._links[directory] = _count_links(directory)
            try:
                with os.scandir(directory) as entries:
                    pending.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
            except OSError:
                continue

    def is_complete(self) -> bool:
        """Whether the cgroups are those that the last walk found: none has been removed, made, or made anew."""
        return not self._lost and all(_count_links(directory) == links for directory, links in self._links.items())

    def read(self) -> list[int]:
        """The PIDs of all these cgroups. A removed cgroup is forgotten. Raises PermissionError, ParseError."""
        pids: list[int] = []
        for directory, file in list(self._files.items()):
            try:
                pids += parse_cgroup_procs(file.read() if self._kept else read_once(file.path))
            except PermissionError:
                raise
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:  # a threaded cgroup's processes are its parent's
                    continue
                del self._files[directory]
                self._links.pop(directory, None)
                self._lost = True
        return pids

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _count_links(directory: str) -> int:
    try:
        return os.stat(directory).st_nlink
    except OSError:
        return 0
