"""The cgroup collector: CPU, throttling, memory, OOM kills, IO and pressure of each tree's own cgroup."""

import os
from array import array

from prom_probe.collectors.base import Context
from prom_probe.collectors.cgroup_families import FAMILIES, INACTIVE_FILE, READINGS, Reading
from prom_probe.collectors.definition import READABLE
from prom_probe.model.family import column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.cgroup_path import Directories, locate_cgroups, locate_named_cgroup
from prom_probe.sources.cpu_limit import parse_cpu_cfs
from prom_probe.sources.descriptors import Descriptors, KeptFile, read_once
from prom_probe.sources.errors import ParseError

# Collections after which a tree's cgroup is looked for again: a process can be moved.
_LOCATE_EVERY = 30

_NAMES = tuple(FAMILIES)


class CgroupCollector:
    """See `Collector`. It runs beside the process collector, which tells it where the trees are."""

    name = "cgroup"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = context.descriptors
        self._watched = {watch.name: watch.value for watch in context.watches if watch.kind == "cgroup"}
        self._cgroups: dict[str, _Cgroup] = {}
        self._readable = self.layout.add((column(READABLE.family, source="cgroup"),))
        self._said: set[str] = set()

    def collect(self) -> None:
        self.layout.maybe_compact()
        readable = True
        for tree, pid in self._context.tree_pids.items():
            cgroup = self._cgroups.get(tree)
            if cgroup is None:
                cgroup = self._cgroups[tree] = _Cgroup()
            cgroup.left_s = None
            readable &= self._locate(tree, pid, cgroup)
        for tree, cgroup in list(self._cgroups.items()):
            readable &= self._read(tree, cgroup)
            if tree not in self._context.tree_pids and self._is_over(cgroup):
                self._forget(tree)
        self.layout.row[self._readable.start] = readable

    def _locate(self, tree: str, pid: int, cgroup: "_Cgroup") -> bool:
        """Find the tree's cgroup where that is due; False where it is denied."""
        cgroup.wait -= 1
        if pid == cgroup.pid and cgroup.wait > 0:
            return cgroup.readable
        context = self._context
        try:
            if tree in self._watched:
                directories = locate_named_cgroup(context.cgroupfs, self._watched[tree])
            else:
                directories = locate_cgroups(context.procfs, pid, context.cgroupfs)
            cgroup.readable = True
        except PermissionError as error:
            directories = {}
            cgroup.readable = False
            self._say(f"cgroup of tree {tree!r}: {error}")
        except (OSError, ParseError) as error:
            if not isinstance(error, (ProcessLookupError, FileNotFoundError)):
                self._say(f"cgroup of tree {tree!r}: {error}")
            return cgroup.readable  # gone: what is known of it stands until it has a successor
        cgroup.pid, cgroup.wait = pid, _LOCATE_EVERY
        if directories != cgroup.directories:
            cgroup.close()
            cgroup.open(directories, self._descriptors)
        return cgroup.readable

    def _read(self, tree: str, cgroup: "_Cgroup") -> bool:
        try:
            values = cgroup.read()
            readable = True
        except (OSError, ParseError) as error:
            values = {}
            readable = False
            cgroup.wait = 0
            self._say(f"cgroup of tree {tree!r}: {error}")
        if values and cgroup.group is None:
            cgroup.group = self.layout.add(column(FAMILIES[name].family, tree=tree) for name in _NAMES)
        if cgroup.group is not None:
            start = cgroup.group.start
            self.layout.row[start : start + len(_NAMES)] = array("d", [values.get(name, STALE) for name in _NAMES])
        return readable

    def _is_over(self, cgroup: "_Cgroup") -> bool:
        """Whether the tree has been without a process for so long that its cgroup is of no interest any more."""
        now = self._context.monotonic()
        if cgroup.left_s is None:
            cgroup.left_s = now
        return now - cgroup.left_s >= self._context.hold_s

    def _forget(self, tree: str) -> None:
        cgroup = self._cgroups.pop(tree)
        cgroup.close()
        if cgroup.group is not None:
            self.layout.retire(cgroup.group)

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self._context.log("warn", what)

    def checkpoint(self) -> bytes:
        return b""  # all its counters are the kernel's

    def restore(self, state: bytes) -> None:
        pass

    def close(self) -> None:
        for cgroup in self._cgroups.values():
            cgroup.close()


class _Cgroup:
    """The files of one tree's cgroup."""

    def __init__(self) -> None:
        self.pid = 0  # whose cgroup it is
        self.wait = 0  # collections until it is looked for again
        self.left_s: float | None = None  # when the tree's last process was gone
        self.readable = True
        self.directories: Directories = {}
        self.group: Group | None = None
        self._files: list[tuple[KeptFile, Reading]] = []
        self._last: dict[str, float] = {}

    def open(self, directories: Directories, descriptors: Descriptors) -> None:
        """Keep those files that the controllers have here."""
        self.directories = directories
        for reading in READINGS:
            directory = directories.get(reading.controller)
            if directory is not None and os.path.exists(f"{directory}/{reading.file}"):
                self._files.append((KeptFile(f"{directory}/{reading.file}", descriptors), reading))

    def read(self) -> dict[str, float]:
        """By short name, in base units. Of a cgroup that was removed, the last counters. Raises OSError, ParseError."""
        values: dict[str, float] = {}
        for file, reading in self._files:
            try:
                values.update(reading.take(file.read()))
            except PermissionError:
                raise
            except OSError:  # ENODEV, ENOENT: removed
                return {name: value for name, value in self._last.items() if FAMILIES[name].family.type == "counter"}
        if "cpu" in self.directories:
            self._read_quota(self.directories["cpu"], values)
        inactive = values.pop(INACTIVE_FILE, None)
        if inactive is not None and "memory_usage" in values:
            values["working_set"] = max(0.0, values["memory_usage"] - inactive)
        self._last = values
        return values

    def _read_quota(self, directory: str, values: dict[str, float]) -> None:
        """Version 1's quota stands in two files."""
        try:
            quota = read_once(f"{directory}/cpu.cfs_quota_us")
            limit = parse_cpu_cfs(quota, read_once(f"{directory}/cpu.cfs_period_us"))
        except OSError:
            return
        if limit is not None:
            values["cpu_limit"] = limit

    def close(self) -> None:
        for file, _ in self._files:
            file.close()
        self._files = []
        self.directories = {}
