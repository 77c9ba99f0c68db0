"""The system collector: CPU, load, memory, pressure, network and disks of the whole machine."""

import os
from array import array
from collections.abc import Iterable

from prom_probe.collectors import system_families as families
from prom_probe.collectors.base import Context
from prom_probe.collectors.definition import READABLE, Definition
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.cpu_limit import read_cpu_limit
from prom_probe.sources.descriptors import Descriptors, KeptFile, read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_diskstats import parse_number, parse_proc_diskstats
from prom_probe.sources.proc_loadavg import parse_proc_loadavg
from prom_probe.sources.proc_meminfo import parse_proc_meminfo
from prom_probe.sources.proc_net_dev import parse_proc_net_dev
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup
from prom_probe.sources.proc_pressure import parse_pressure
from prom_probe.sources.proc_stat import parse_proc_stat

# Devices of a kind (network, disk) that get series; a node may have hundreds of virtual ones.
_MAX_DEVICES = 64
# Collections between two looks at what changes seldom.
_SELDOM = 15
_NO_DISKS = ("loop", "ram", "zram", "fd", "sr")


class SystemCollector:
    """See `Collector`."""

    name = "system"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = Descriptors(context.max_descriptors)
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

    def keep(self, path: str) -> KeptFile:
        return KeptFile(path, self._descriptors)

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
    """The series of one source, with a fixed group of columns."""

    source: str
    _group: Group

    def __init__(self, collector: SystemCollector, path: str) -> None:
        self._layout = collector.layout
        self._file = collector.keep(path)

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
        self._file.close()


class _Stat(_Section):
    source = "proc_stat"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/stat")
        self._tick_s = 1.0 / context.ticks_per_s
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
        self.write([*(ticks * self._tick_s for ticks in cpu), *counts])


class _Load(_Section):
    source = "proc_loadavg"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/loadavg")
        self._group = collector.layout.add(collector.columns(families.LOADS))

    def collect(self) -> None:
        self.write(parse_proc_loadavg(self._file.read())[:3])


class _Memory(_Section):
    source = "proc_meminfo"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/meminfo")
        self._keys = tuple(families.MEMORY)
        self._group = collector.layout.add(collector.columns(families.MEMORY.values()))

    def collect(self) -> None:
        kib = parse_proc_meminfo(self._file.read(), self._keys)
        self.write(STALE if value is None else value * 1024 for value in kib)


class _Pressure(_Section):
    def __init__(
        self, collector: SystemCollector, context: Context, resource: str, definitions: tuple[Definition, ...]
    ) -> None:
        super().__init__(collector, f"{context.procfs}/pressure/{resource}")
        self.source = f"proc_pressure_{resource}"
        self._group = collector.layout.add(collector.columns(definitions))

    def collect(self) -> None:
        totals = parse_pressure(self._file.read())[: len(self._group.columns)]
        self.write(STALE if total is None else total * 1e-6 for total in totals)


class _Cpus(_Section):
    source = "cpu_limits"

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/self/cgroup")
        self._cgroupfs = context.cgroupfs
        self._group = collector.layout.add(collector.columns((families.CPUS, families.CPUS_EFFECTIVE)))
        self._wait = 0

    def collect(self) -> None:
        self._wait -= 1
        if self._wait > 0:
            return
        online = os.sysconf("SC_NPROCESSORS_ONLN")
        allowed = float(len(os.sched_getaffinity(0)))
        limit = read_cpu_limit(self._cgroupfs, parse_proc_pid_cgroup(read_once(self._file.path)))
        self.write((online, allowed if limit is None else min(allowed, limit)))
        self._wait = _SELDOM


class _Devices(_Section):
    """The series of devices, which come and go."""

    definitions: tuple[Definition, ...]

    def __init__(self, collector: SystemCollector, path: str) -> None:
        super().__init__(collector, path)
        self._columns = collector.columns
        self._groups: dict[str, Group] = {}

    def write_devices(self, devices: list[tuple[str, list[float]]]) -> None:
        """End the series of devices that are not there any more, begin those of new ones."""
        for name, values in devices:
            group = self._groups.get(name)
            if group is None:
                if len(self._groups) >= _MAX_DEVICES:
                    continue
                group = self._groups[name] = self._layout.add(self._columns(self.definitions, device=name))
            self._layout.row[group.start : group.start + len(values)] = array("d", values)
        if len(self._groups) > len(devices):
            for gone in self._groups.keys() - {name for name, _ in devices}:
                self._layout.retire(self._groups.pop(gone))

    def end(self) -> None:
        self.write_devices([])


class _Network(_Devices):
    source = "proc_net_dev"
    definitions = tuple(definition for _, definition in families.NETWORK)

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/net/dev")
        self._fields = [field for field, _ in families.NETWORK]

    def collect(self) -> None:
        devices = parse_proc_net_dev(self._file.read())
        self.write_devices([(name, [float(fields[i]) for i in self._fields]) for name, fields in devices])


class _Disk(_Devices):
    source = "proc_diskstats"
    definitions = tuple(definition for _, _, definition in families.DISK)

    def __init__(self, collector: SystemCollector, context: Context) -> None:
        super().__init__(collector, f"{context.procfs}/diskstats")
        self._block = f"{context.sysfs}/block"
        self._rows = [(field, factor) for field, factor, _ in families.DISK]
        self._wanted: dict[str, bool] = {}

    def collect(self) -> None:
        found = []
        for name, fields in parse_proc_diskstats(self._file.read()):
            wanted = self._wanted.get(name)
            if wanted is None:
                wanted = self._wanted[name] = self._is_wanted(name)
            if wanted and (name in self._groups or fields[3] != b"0" or fields[7] != b"0"):
                found.append((name, [parse_number(fields, field) * factor for field, factor in self._rows]))
        self.write_devices(found)

    def _is_wanted(self, name: str) -> bool:
        """Whether it is a whole device: only those are in /sys/block, where a / in a name is a !."""
        if name.startswith(_NO_DISKS):
            return False
        return not os.path.isdir(self._block) or os.path.exists(f"{self._block}/{name.replace('/', '!')}")
