"""The system collector: CPU, load, memory, pressure, network and disks of the whole machine."""

import os
from array import array
from collections.abc import Iterable

from prom_probe.collectors import system_families as families
from prom_probe.collectors.base import Context
from prom_probe.collectors.definition import READABLE, Definition
from prom_probe.collectors.devices import MAX_DEVICES, Devices
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.block_stat import list_block_devices, parse_block_stat
from prom_probe.sources.cpu_limit import read_cpu_limit
from prom_probe.sources.descriptors import KeptFile, read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_loadavg import parse_proc_loadavg
from prom_probe.sources.proc_meminfo import parse_proc_meminfo
from prom_probe.sources.proc_net_dev import parse_proc_net_dev
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup
from prom_probe.sources.proc_pressure import parse_pressure
from prom_probe.sources.proc_stat import parse_proc_stat

# Collections between two looks at what changes seldom.
_SELDOM = 30
_NO_DISKS = ("loop", "ram", "zram", "fd", "sr")


class SystemCollector:
    """See `Collector`."""

    name = "system"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = context.descriptors
        self._sections = [
            _Stat(self, context),
            _Load(self, context),
            _Memory(self, context),
            *(_Pressure(self, context, resource, rows) for resource, rows in families.PRESSURE),
            _Network(self, context),
            _Disk(self, context),
            _Cpus(self, context),
        ]
        self._readable = self.layout.add(column(READABLE.family, source=section.source) for section in self._sections)
        self._said: set[str] = set()

    def columns(self, definitions: Iterable[Definition], **labels: str) -> tuple[Column, ...]:
        """Columns of these families, exposed as the context says."""
        exposed = self._context.expose_system
        return tuple(column(definition.family, exposed=exposed, **labels) for definition in definitions)

    def keep(self, path: str, *, at_once: bool) -> KeptFile:
        return KeptFile(path, self._descriptors, at_once=at_once)

    def collect(self) -> None:
        self.layout.maybe_compact()
        for number, section in enumerate(self._sections):
            try:
                section.collect()
                readable = 1.0
            except (OSError, ParseError) as error:
                section.end()
                readable = 0.0
                self._say(str(error))
            self.layout.row[self._readable.start + number] = readable

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self._context.log("warn", what)

    def checkpoint(self) -> bytes:
        return b""  # all its counters are the kernel's

    def restore(self, state: bytes) -> None:
        pass

    def close(self) -> None:
        for section in self._sections:
            section.close()


class _Section:
    """The series of one source; those in `_group` are always there."""

    source: str
    _group: Group

    def __init__(self, collector: SystemCollector) -> None:
        self._layout = collector.layout

    def collect(self) -> None:
        """Raises OSError, ParseError."""
        raise NotImplementedError

    def write(self, values: Iterable[float]) -> None:
        start = self._group.start
        self._layout.row[start : start + len(self._group.columns)] = array("d", values)

    def end(self) -> None:
        """The source cannot be read: end its series."""
        self.write([STALE] * len(self._group.columns))

    def close(self) -> None:
        pass


class _FileSection(_Section):
    """A section that is one file."""

    def __init__(self, collector: SystemCollector, path: str, *, at_once: bool = True) -> None:
        super().__init__(collector)
        self._file = collector.keep(path, at_once=at_once)

    def close(self) -> None:
        self._file.close()


class _Stat(_FileSection):
    source = "proc_stat"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/stat")
        self._hz = context.ticks_per_s
        columns = [c for mode in families.CPU_MODES for c in collector.columns((families.CPU,), mode=mode)]
        columns += collector.columns(
            (
                families.INTERRUPTS,
                families.CONTEXT_SWITCHES,
                families.BOOT_TIME,
                families.FORKS,
                families.RUNNING,
                families.BLOCKED,
            )
        )
        self._group = collector.layout.add(columns)

    def collect(self) -> None:
        cpu, *counts = parse_proc_stat(self._file.read())
        self.write([*[ticks / self._hz for ticks in cpu], *counts])


class _Load(_FileSection):
    source = "proc_loadavg"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/loadavg")
        self._group = collector.layout.add(collector.columns(families.LOADS))

    def collect(self) -> None:
        self.write(parse_proc_loadavg(self._file.read())[:3])


class _Memory(_FileSection):
    source = "proc_meminfo"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/meminfo")
        self._keys = tuple(families.MEMORY)
        self._group = collector.layout.add(collector.columns(families.MEMORY.values()))

    def collect(self) -> None:
        kib = parse_proc_meminfo(self._file.read(), self._keys)
        self.write([STALE if value is None else value * 1024 for value in kib])


class _Pressure(_FileSection):
    def __init__(
        self, collector: SystemCollector, context: Context, resource: str, definitions: tuple[Definition, ...]
    ) -> None:
        super().__init__(collector, f"{context.procfs}/pressure/{resource}")
        self.source = f"proc_pressure_{resource}"
        self._group = collector.layout.add(collector.columns(definitions))

    def collect(self) -> None:
        totals = parse_pressure(self._file.read())[: len(self._group.columns)]
        self.write([STALE if total is None else total / 1e6 for total in totals])


class _Cpus(_Section):
    source = "cpu_limits"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector)
        self._context = context
        self._group = collector.layout.add(collector.columns((families.CPUS, families.CPUS_EFFECTIVE)))
        self._wait = 0

    def collect(self) -> None:
        self._wait -= 1
        if self._wait > 0:
            return
        online = os.sysconf("SC_NPROCESSORS_ONLN")
        allowed = float(len(os.sched_getaffinity(0)))
        memberships = parse_proc_pid_cgroup(read_once(f"{self._context.procfs}/self/cgroup"))
        limit = read_cpu_limit(self._context.cgroupfs, memberships)
        self.write((online, allowed if limit is None else min(allowed, limit)))
        self._wait = _SELDOM


class _Network(_FileSection):
    source = "proc_net_dev"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/net/dev", at_once=False)
        self._devices = Devices(collector.layout, collector.columns, families.NETWORK)

    def collect(self) -> None:
        devices = parse_proc_net_dev(self._file.read())
        for name, numbers in devices:
            self._devices.write(name, numbers)
        self._devices.keep([name for name, _ in devices])

    def end(self) -> None:
        self._devices.keep(())


class _Disk(_Section):
    source = "block_stat"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector)
        self._sysfs = context.sysfs
        self._keep = collector.keep
        self._rows = [(field, divisor) for field, divisor, _ in families.DISK]
        self._files: dict[str, KeptFile] = {}
        self._devices = Devices(collector.layout, collector.columns, (definition for _, _, definition in families.DISK))
        self._wait = 0

    def collect(self) -> None:
        self._wait -= 1
        if self._wait <= 0:
            self._list()
        for name, file in list(self._files.items()):
            try:
                fields = parse_block_stat(file.read())
            except OSError:  # unplugged
                self._forget(name)
                continue
            self._devices.write(name, [fields[field] / divisor for field, divisor in self._rows])

    def _list(self) -> None:
        """Find the devices that have been used."""
        for name in list_block_devices(self._sysfs):
            if name in self._files or name.startswith(_NO_DISKS) or len(self._files) >= MAX_DEVICES:
                continue
            file = self._keep(f"{self._sysfs}/block/{name}/stat", at_once=True)
            try:
                if any(parse_block_stat(file.read())):
                    self._files[name] = file
                    continue
            except OSError:
                pass
            file.close()
        self._wait = _SELDOM

    def _forget(self, name: str) -> None:
        self._files.pop(name).close()
        self._devices.keep(self._files)

    def end(self) -> None:
        self.close()
        self._devices.keep(())
        self._wait = 0

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
