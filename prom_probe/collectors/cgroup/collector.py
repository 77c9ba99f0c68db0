"""The cgroup collector: CPU, throttling, memory, OOM kills, IO and pressure of each tree's own cgroup."""

import errno
import os
from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from prom_probe.collectors.base import Context
from prom_probe.collectors.cgroup.device_sum import DeviceSum
from prom_probe.collectors.cgroup.families import FAMILIES, IO_DEVICE
from prom_probe.collectors.cgroup.files import FILES, INACTIVE_FILE, IO_FILES, CgroupFile, IoFile, cpu_limits
from prom_probe.collectors.cgroup.incidents import CgroupIncidents
from prom_probe.collectors.odd_rows import OddRows
from prom_probe.collectors.system.devices import MAX_DEVICES, Devices, DroppedDevices, choose_devices
from prom_probe.model.definition import READABLE, Definition
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.run_event import RunEvent
from prom_probe.model.sample import STALE
from prom_probe.sources.block_stat import read_device_name, read_lower_devices
from prom_probe.sources.cgroup_files import parse_number
from prom_probe.sources.cgroup_limits import read_effective_cpus, read_effective_memory
from prom_probe.sources.cgroup_path import CgroupLocator, Directories, locate_named_cgroup
from prom_probe.sources.cpu_limit import parse_cfs_quota
from prom_probe.sources.descriptors import Descriptors, KeptFile, read_first, read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd

# A tree's cgroup is located again after this many collections: a process can be moved to another.
_LOCATE_EVERY = 30
# Seconds between two readings of limits, which rarely change.
_LIMITS_EVERY_S = 5.0
# An open file, and a file that has to be opened, of a cgroup that was removed or a controller that was disabled.
_GONE = (errno.ENODEV, errno.ENOENT)

_NAMES = tuple(FAMILIES)
_NONE = Descriptors(0)
_ALL_FILES: tuple[CgroupFile | IoFile, ...] = (*FILES, *IO_FILES)


class CgroupCollector:
    """See `Collector`. Runs in the process collector's worker, and takes each tree's oldest PID from it."""

    name = "cgroup"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._locator = CgroupLocator(context.procfs, context.cgroupfs, odd=context.odd_rows.of("cgroup"))
        self._device_names: dict[str, str] = {}
        self._watched = {watch.name: watch.value for watch in context.watches if watch.kind == "cgroup"}
        self._cgroups: dict[str, _Cgroup] = {}
        self._left: dict[str, _Left] = {}  # of a predecessor, by tree
        self._readable = self.layout.add((column(READABLE.family, source="cgroup"),))
        self._dropped = DroppedDevices(self.layout)
        self._said: set[str] = set()

    def collect(self) -> None:
        self.layout.maybe_compact()
        readable = True
        for tree, pid in self._context.tree_pids.items():
            cgroup = self._cgroups.get(tree)
            if cgroup is None:
                cgroup = self._cgroups[tree] = _Cgroup(self._context.odd_rows, self._left.pop(tree, _NOTHING_LEFT))
            cgroup.left_s = None
            readable &= self._locate(tree, pid, cgroup)
        for tree, cgroup in list(self._cgroups.items()):
            readable &= self._read(tree, cgroup)
            if tree not in self._context.tree_pids and self._is_over(cgroup):
                self._forget(tree)
        self.layout.row[self._readable.start] = readable
        dropped = sum(max(0, len(cgroup.io) - MAX_DEVICES) for cgroup in self._cgroups.values())
        self._dropped.write("cgroup_io", dropped)

    def _locate(self, tree: str, pid: int, cgroup: "_Cgroup") -> bool:
        """Locate the tree's cgroup if that is due; False where access is denied."""
        cgroup.wait -= 1
        if pid == cgroup.pid and cgroup.wait > 0:
            return cgroup.readable
        context = self._context
        try:
            if tree in self._watched:
                directories = locate_named_cgroup(context.cgroupfs, self._watched[tree])
            else:
                directories = self._locator.locate(pid)
            cgroup.readable = True
        except PermissionError as error:
            directories = {}
            cgroup.readable = False
            self._say(f"cgroup of tree {tree!r}: {error}")
        except (OSError, ParseError) as error:
            if not isinstance(error, (ProcessLookupError, FileNotFoundError)):
                self._say(f"cgroup of tree {tree!r}: {error}")
            return cgroup.readable  # gone: the last values stay until the tree has a process again
        cgroup.pid, cgroup.wait = pid, _LOCATE_EVERY
        cgroup.open(directories, context)
        return cgroup.readable

    def _read(self, tree: str, cgroup: "_Cgroup") -> bool:
        context = self._context
        values = cgroup.read(context)
        for kind, text in cgroup.incidents.look(values, context.monotonic()):
            context.happened(RunEvent(context.wall(), kind, tree, text=text))
        for problem in cgroup.problems:
            if problem is not None:
                self._say(f"cgroup of tree {tree!r}: {problem}")
        if values and cgroup.group is None:
            cgroup.group = self.layout.add(column(FAMILIES[name].family, tree=tree) for name in _NAMES)
        if cgroup.group is not None:
            start = cgroup.group.start
            self.layout.row[start : start + len(_NAMES)] = array("d", [values.get(name, STALE) for name in _NAMES])
        self._write_devices(tree, cgroup)
        return not cgroup.problems

    def _write_devices(self, tree: str, cgroup: "_Cgroup") -> None:
        if cgroup.devices is None:
            if not cgroup.io:
                return

            def columns(definitions: Iterable[Definition], **labels: str) -> tuple[Column, ...]:
                return tuple(column(definition.family, exposed=True, tree=tree, **labels) for definition in definitions)

            cgroup.devices = Devices(self.layout, columns, IO_DEVICE.values())
        chosen = choose_devices(cgroup.io, lambda device: True)
        cgroup.devices.keep(chosen)
        for device in chosen:
            numbers = [cgroup.io[device].get(name, STALE) for name in IO_DEVICE]
            cgroup.devices.write(device, numbers, device=self._device_name(device))

    def _device_name(self, number: str) -> str:
        """The name of device "8:0", such as "sda"; the number itself where the name is not known."""
        name = self._device_names.get(number)
        if name is None:
            name = self._device_names[number] = read_device_name(self._context.sysfs, number) or number
        return name

    def _is_over(self, cgroup: "_Cgroup") -> bool:
        """Whether the tree has been without a process for `hold_s`, so that its series can end."""
        now = self._context.monotonic()
        if cgroup.left_s is None:
            cgroup.left_s = now
        return now - cgroup.left_s >= self._context.hold_s

    def _forget(self, tree: str) -> None:
        cgroup = self._cgroups.pop(tree)
        cgroup.close()
        if cgroup.group is not None:
            self.layout.retire(cgroup.group)
        if cgroup.devices is not None:
            cgroup.devices.keep(())

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self._context.log("warn", what)

    def checkpoint(self) -> bytes:
        """What of the sums over devices the kernel does not tell any more; all other counters are the kernel's."""
        left = {tree: cgroup.leave() for tree, cgroup in self._cgroups.items() if cgroup.has_gone()}
        return msgspec.msgpack.encode(left) if left else b""

    def restore(self, state: bytes) -> None:
        try:
            self._left = msgspec.msgpack.decode(state or b"\x80", type=dict[str, _Left])
        except msgspec.DecodeError:
            return

    def close(self) -> None:
        for cgroup in self._cgroups.values():
            cgroup.close()


class _Left(NamedTuple):
    """For the next worker: which cgroup it is, and what devices that are gone had, by short name."""

    directories: Directories
    gone: dict[str, float]


_NOTHING_LEFT = _Left({}, {})


class _Cgroup:
    """The files of one tree's cgroup."""

    def __init__(self, odd_rows: OddRows, left: _Left) -> None:
        self._odd_rows = odd_rows
        self._left = left
        self.pid = 0  # the process that it was located by
        self.wait = 0  # collections until it is located again
        self.left_s: float | None = None  # when the tree's last process ended
        self.readable = True
        self.directories: Directories = {}
        self.incidents = CgroupIncidents()
        self.group: Group | None = None
        self.devices: Devices | None = None
        self.io: dict[str, dict[str, float]] = {}  # by device and short name; after a removal, the last values
        self._io_sums = _new_sums()
        self._below: dict[str, list[str]] = {}  # by device: those that it is built on
        self.problems: list[str | None] = []  # of the newest readings; None for what is an odd row, which is logged
        self._present: list[CgroupFile | IoFile] = []
        self._files: list[tuple[KeptFile, CgroupFile]] = []
        self._seldom: list[tuple[KeptFile, CgroupFile]] = []
        self._io: list[tuple[KeptFile, IoFile]] = []
        self._limits: dict[str, float] = {}
        self._limit_problems: list[str | None] = []
        self._due_s = 0.0
        self._last: dict[str, float] = {}

    def open(self, directories: Directories, context: Context) -> None:
        """Keep the files that the controllers have here, those of limits aside, which are opened for each reading."""
        present = [reading for reading in _ALL_FILES if _exists(directories, reading)]
        if directories == self.directories and present == self._present:
            return
        self.close()
        self.directories, self._present = directories, present
        if directories == self._left.directories:
            for name, total in self._io_sums.items():
                total.resume(self._left.gone.get(name, 0.0))
        self._left = _NOTHING_LEFT
        self._due_s = 0.0
        for reading in present:
            path = f"{directories[reading.controller]}/{reading.file}"
            if isinstance(reading, IoFile):
                self._io.append((KeptFile(path, context.descriptors, read_first), reading))
            elif reading.seldom:
                self._seldom.append((KeptFile(path, _NONE), reading))
            else:
                self._files.append((KeptFile(path, context.descriptors, read_first), reading))

    def read(self, context: Context) -> dict[str, float]:
        """By short name, in base units; what cannot be read is absent, and a problem. Of a cgroup that was removed,
        the last counters."""
        self.problems = []
        values: dict[str, float] = {}
        try:
            for file, reading in self._files:
                self._take(values, file, reading.take)
            self._read_io(values, context.sysfs)
            now = context.monotonic()
            if now >= self._due_s:
                self._read_limits(context)
                self._due_s = now + _LIMITS_EVERY_S - 0.05  # beats come a little early or late
        except _Removed:
            self.problems = []
            self._last |= values
            return {name: value for name, value in self._last.items() if _is_counter(name)}
        self.problems += self._limit_problems
        values |= self._limits
        inactive = values.pop(INACTIVE_FILE, None)
        if inactive is not None and "memory_usage" in values:
            values["working_set"] = max(0.0, values["memory_usage"] - inactive)
        self._last = values
        return values

    def _take(
        self, values: dict[str, float], file: KeptFile, take: Callable[[bytes, Odd], Iterable[tuple[str, float]]]
    ) -> None:
        """One file's numbers. Raises _Removed."""
        odd = self._odd_rows.of(os.path.basename(file.path))
        try:
            values.update(take(file.read(), odd))
        except OSError as error:
            if error.errno in _GONE:
                if not os.path.exists(f"{os.path.dirname(file.path)}/cgroup.procs"):
                    raise _Removed from None
                self.wait = 0  # its controller was disabled: locate the cgroup again
            elif error.errno != errno.EOPNOTSUPP:  # a kernel without pressure stall information
                self.problems.append(str(error))
        except ParseError as error:
            odd(error.text)
            self.problems.append(None)

    def _read_io(self, values: dict[str, float], sysfs: str) -> None:
        """Fill `io`, and the sums over devices. A cgroup that has done no IO has an empty file.

        Where a row is odd, a device that has none keeps its last numbers.
        """
        io: dict[str, dict[str, float]] = {}
        for file, reading in self._io:

            def take(data: bytes, odd: Odd, reading: IoFile = reading) -> Iterable[tuple[str, float]]:
                odd_rows: list[bytes] = []
                names = reading.names
                for device, counts in reading.parse(data, odd_rows.append).items():
                    io.setdefault(device, {}).update({name: float(counts.get(key, 0)) for key, name in names.items()})
                for row in odd_rows:
                    odd(row)
                for device, last in self.io.items() if odd_rows else ():
                    numbers = io.setdefault(device, {})
                    for name in last.keys() & set(names.values()) - numbers.keys():
                        numbers[name] = last[name]
                for device in io:
                    if device not in self._below or device not in self.io:
                        self._below[device] = read_lower_devices(sysfs, device)
                return [(name, self._io_sums[name].add_up(io, self._below)) for name in names.values()]

            self._take(values, file, take)
        self.io = io

    def _read_limits(self, context: Context) -> None:
        """A cgroup that was located through a process's root keeps its last limits once the process has ended: these
        files are opened for each reading, while the kept ones can still be read."""
        others, self.problems = self.problems, []
        limits: dict[str, float] = {}
        try:
            for file, reading in self._seldom:
                self._take(limits, file, reading.take)
        except _Removed:
            self.problems = others
            return
        self._read_effective(context, limits)
        self._limits = limits
        self._limit_problems, self.problems = self.problems, others

    def _read_effective(self, context: Context, limits: dict[str, float]) -> None:
        """Limits that need several files, and the cgroups above."""
        directories = self.directories
        if not directories:  # without the quota, which we may not see, the affinity alone would mislead
            return
        try:
            if "cpu" in directories:  # version 1 has the quota in two files
                quota = parse_cfs_quota(read_once(f"{directories['cpu']}/cpu.cfs_quota_us"))
                period = parse_number(read_once(f"{directories['cpu']}/cpu.cfs_period_us"), "cpu.cfs_period_us")
                limits.update(cpu_limits(quota, period))
        except OSError:
            pass  # a kernel without quotas
        except ParseError as error:
            self.problems.append(str(error))
        effective: dict[str, Callable[[], float | None]] = {
            "cpus_effective": lambda: read_effective_cpus(directories, context.procfs, context.sysfs, self.pid),
            "memory_limit_effective": lambda: read_effective_memory(directories),
        }
        for name, read in effective.items():
            try:
                limit = read()
            except (OSError, ParseError) as error:
                self.problems.append(str(error))
                continue
            if limit is not None:
                limits[name] = limit

    def has_gone(self) -> bool:
        return any(total.gone for total in self._io_sums.values())

    def leave(self) -> _Left:
        """See `_Left`."""
        return _Left(self.directories, {name: total.gone for name, total in self._io_sums.items()})

    def close(self) -> None:
        for file, _ in (*self._files, *self._seldom, *self._io):
            file.close()
        self._files, self._seldom, self._io = [], [], []
        self._io_sums, self._below = _new_sums(), {}
        self.directories = {}
        self.incidents.forget()


def _new_sums() -> dict[str, DeviceSum]:
    return {name: DeviceSum(name) for name in IO_DEVICE}


def _is_counter(name: str) -> bool:
    return name in FAMILIES and FAMILIES[name].family.type == "counter"


def _exists(directories: Directories, reading: CgroupFile | IoFile) -> bool:
    directory = directories.get(reading.controller)
    return directory is not None and os.path.exists(f"{directory}/{reading.file}")


class _Removed(Exception):
    """The cgroup was removed."""
