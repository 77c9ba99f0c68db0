"""CPU time that a tree's cgroup used and the tree's counter lacks: that of processes which came and went unseen."""

from __future__ import annotations

from collections.abc import Collection

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.tree import Tree
from prom_probe.sources.cgroup_files import parse_flat_keyed, parse_number
from prom_probe.sources.cgroup_path import CgroupLocator, Directories, locate_named_cgroup
from prom_probe.sources.cgroup_procs import CgroupProcs
from prom_probe.sources.descriptors import KeptFile, read_first
from prom_probe.sources.errors import ParseError

# Collections between two checks that the tree is a whole cgroup; where it is not, the pause doubles with each check, up
# to the second number.
_CHECK_EVERY = 16
_CHECK_SELDOM = 256
# A process's stat file has two numbers of ticks, each rounded down.
_ROUNDING_TICKS = 2


class Unattributed:
    """Compares a tree with its cgroup, where all processes of the cgroup are the tree's.

    `seconds` never falls, and keeps its value when the cgroup is gone; None until there was such a cgroup. `whole` is
    whether there is one now. CPU time used while the tree is being read does not count as missing: the cgroup is read
    before the tree's processes, and once more after them to establish how far it is ahead. While processes end,
    `seconds` lags by a collection.
    """

    def __init__(self, name: str, context: Context, locator: CgroupLocator) -> None:
        self._context = context
        self._locator = locator
        self._named = next((w.value for w in context.watches if w.kind == "cgroup" and w.name == name), None)
        self._file: KeptFile | None = None
        self._procs: CgroupProcs | None = None
        self._wait, self._pause = 0, _CHECK_EVERY
        self._strangers: set[int] = set()
        self._base_s: float | None = None  # by how much the cgroup is ahead of the tree without anything missing
        self._usage_s: float | None = None  # of the cgroup, before the tree was read
        self._previous_s: float | None = None  # the same in the previous collection
        self.whole = False
        self.seconds: float | None = None

    def begin(self) -> None:
        """To be called before the processes are found and read."""
        self._previous_s, self._usage_s = self._usage_s, None
        if self._file is not None and self.whole:
            try:
                self._usage_s = _usage_s(self._file.read())
            except (OSError, ParseError) as error:  # gone or denied, which the cgroup collector reports
                self._leave()
                if not isinstance(error, PermissionError):  # it may be made anew
                    self._wait, self._pause = 1, _CHECK_EVERY

    def read(self, tree: Tree, members: Collection[int], *, settled: bool) -> None:
        """Compare; `members` are the PIDs of all trees' processes. Not `settled`: some processes have just ended, and
        the process that reaped them shows their time only in the next collection."""
        if not tree.processes:
            return
        self._wait -= 1
        try:
            if self._wait <= 0:
                self._check(tree, members)
            if self._file is not None and self.whole:
                self._compare(tree, self._file, self._usage_s if settled else self._previous_s)
        except (OSError, ParseError):
            self._leave()

    def _check(self, tree: Tree, members: Collection[int]) -> None:
        context = self._context
        self._wait = self._pause
        self._pause = min(self._pause * 2, _CHECK_SELDOM)
        if self._named is not None:
            directories = locate_named_cgroup(context.cgroupfs, self._named)
        else:
            directories = self._locator.locate(tree.oldest)
        path = _cpu_file(directories)
        if path is None:
            self._leave()
            return
        directory = path.rpartition("/")[0]
        if self._procs is None or self._procs.directory != directory:
            self._leave()
            self._procs = CgroupProcs(directory, context.descriptors)
            self._file = KeptFile(path, context.descriptors, read_first)
        self._procs.walk()
        strangers = set(self._procs.read()).difference(members)
        # A process that has just been forked becomes a member with the next collection.
        lasting = bool(strangers & self._strangers)
        if strangers and not lasting:
            self._wait = 1
        self._strangers = strangers
        whole = not strangers or (self.whole and not lasting)
        if whole:
            self._pause = _CHECK_EVERY
        if whole != self.whole:
            self.whole, self._base_s = whole, None

    def _compare(self, tree: Tree, file: KeptFile, usage_s: float | None) -> None:
        hz = self._context.ticks_per_s
        tree_s = (tree.counters[0] + tree.counters[1]) / hz
        known = self.seconds or 0.0
        if self._base_s is None or usage_s is None or usage_s - tree_s - self._base_s < known:
            ahead = _usage_s(file.read()) - tree_s
            if (
                self._base_s is None or ahead - self._base_s < known
            ):  # the first time, or a process has joined with time that it used before
                self._base_s = ahead - known
        missing = 0.0
        if usage_s is not None:
            missing = usage_s - tree_s - self._base_s - tree.processes * _ROUNDING_TICKS / hz
        self.seconds = max(known, round(missing, 6))

    def _leave(self) -> None:
        """Stop comparing: there is no cgroup that is the tree's alone."""
        self.whole, self._base_s, self._wait = False, None, self._pause
        self._usage_s = self._previous_s = None
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._procs is not None:
            self._procs.close()
        self._file = self._procs = None


def _usage_s(data: bytes) -> float:
    if data.startswith(b"usage_usec"):
        return parse_flat_keyed(data, "cpu.stat")[b"usage_usec"] / 1e6
    return parse_number(data, "cpuacct.usage") / 1e9


def _cpu_file(directories: Directories) -> str | None:
    if "cpuacct" in directories:
        return f"{directories['cpuacct']}/cpuacct.usage"
    return f"{directories['']}/cpu.stat" if "" in directories else None
