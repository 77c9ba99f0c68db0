"""The system collector's sections that read one or two small files of /proc."""

from prom_probe.collectors.system import families
from prom_probe.collectors.system.rising_counters import RisingCounters
from prom_probe.collectors.system.section import FileSection, Host, Section
from prom_probe.model.definition import Definition
from prom_probe.sources.cpu_limit import read_cpu_limit
from prom_probe.sources.descriptors import read_once, read_records
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_loadavg import parse_proc_loadavg
from prom_probe.sources.proc_meminfo import parse_proc_meminfo
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup
from prom_probe.sources.proc_pressure import parse_pressure
from prom_probe.sources.proc_sockstat import parse_proc_sockstat, parse_proc_sockstat6
from prom_probe.sources.proc_stat import parse_proc_stat
from prom_probe.sources.proc_sys import parse_file_nr, parse_sysctl
from prom_probe.sources.proc_vmstat import parse_proc_vmstat

# The idle time of a CPU falls by less than this while it is rounded otherwise, by more once the CPU is offline.
_MOST_BACK_S = 3


class Stat(FileSection):
    source = "proc_stat"

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/stat")
        self._hz = host.context.ticks_per_s
        columns = [c for mode in families.CPU_MODES for c in host.columns((families.CPU,), mode=mode)]
        columns += host.columns(
            (
                families.INTERRUPTS,
                families.CONTEXT_SWITCHES,
                families.BOOT_TIME,
                families.FORKS,
                families.RUNNING,
                families.BLOCKED,
            )
        )
        self._group = host.layout.add(columns)
        self.cpu = RisingCounters(len(families.CPU_MODES), _MOST_BACK_S * self._hz)

    def collect(self) -> None:
        cpu, *counts = parse_proc_stat(self._file.read(), self.odd)
        modes = [None] * len(families.CPU_MODES) if cpu is None else [n / self._hz for n in self.cpu.read(cpu)]
        self.write_known([*modes, *counts])


class Load(FileSection):
    source = "proc_loadavg"

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/loadavg")
        self._group = host.layout.add(host.columns((*families.LOADS, families.THREADS)))

    def collect(self) -> None:
        load = parse_proc_loadavg(self._file.read())
        self.write((load.load1, load.load5, load.load15, load.threads))


class Meminfo(FileSection):
    source = "proc_meminfo"

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/meminfo")
        self._keys = tuple(families.MEMORY)
        self._group = host.layout.add(host.columns(families.MEMORY.values()))

    def collect(self) -> None:
        kib = parse_proc_meminfo(self._file.read(), self._keys, self.odd)
        self.write_known(None if value is None else value * 1024 for value in kib)


class Vmstat(FileSection):
    """Not read every second: the kernel takes as long to make this file as for three others."""

    source = "proc_vmstat"
    every_s = 5.0

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/vmstat", read_records)
        self._keys = tuple(families.VMSTAT)
        page = host.context.page_bytes
        self._units = [{"KiB": 1024, "pages": page, "": 1}[unit] for unit, _ in families.VMSTAT.values()]
        self._group = host.layout.add(host.columns(definition for _, definition in families.VMSTAT.values()))

    def collect(self) -> None:
        counts = parse_proc_vmstat(self._file.read(), self._keys, self.odd)
        self.write_known(None if n is None else n * unit for n, unit in zip(counts, self._units, strict=True))


class Pressure(FileSection):
    """While nothing waits, the file does not change, and neither do the series. Some distributions turn it off."""

    optional = True

    def __init__(self, host: Host, resource: str, definitions: tuple[Definition, ...]) -> None:
        super().__init__(host, f"{host.context.procfs}/pressure/{resource}")
        self.source = f"proc_pressure_{resource}"
        self._group = host.layout.add(host.columns(definitions))

    def collect(self) -> None:
        data = self._file.read()
        if data == self._written:
            return
        self._written = data
        totals = parse_pressure(data, self.odd)[: len(self._group.columns)]
        self.write_known(None if total is None else total / 1e6 for total in totals)


class Sockets(FileSection):
    """sockstat has what IPv4 and IPv6 share; the sockets in use are counted for each version in a file of its own."""

    source = "proc_net_sockstat"
    every_s = 5.0

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/net/sockstat")
        self._file6 = host.keep(f"{host.context.procfs}/net/sockstat6")
        self._without6 = False
        self._page = host.context.page_bytes
        self._group = host.layout.add(host.columns(families.SOCKETS))

    def collect(self) -> None:
        sockets = parse_proc_sockstat(self._file.read(), self.odd)
        self.complete = True
        tcp6: int | None = 0
        udp6: int | None = 0
        if not self._without6:
            try:
                tcp6, udp6 = parse_proc_sockstat6(self._file6.read(), self.odd)
            except FileNotFoundError:
                self._without6 = True  # a kernel without IPv6
            except (OSError, ParseError) as error:
                self.complete, tcp6, udp6 = False, None, None
                self.fail(error)
        self.write_known(
            (
                sockets.used,
                _sum(sockets.tcp_in_use, tcp6),
                sockets.tcp_time_wait,
                sockets.tcp_orphans,
                sockets.tcp_allocated,
                _times(sockets.tcp_memory, self._page),
                _sum(sockets.udp_in_use, udp6),
                _times(sockets.udp_memory, self._page),
            )
        )

    def close(self) -> None:
        super().close()
        self._file6.close()


class Files(FileSection):
    source = "proc_sys_fs_file_nr"
    every_s = 5.0

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/sys/fs/file-nr")
        self._group = host.layout.add(host.columns((families.OPEN_FILES, families.OPEN_FILES_LIMIT)))

    def collect(self) -> None:
        used, limit = parse_file_nr(self._file.read())
        self.write_known((used, limit))


class Entropy(FileSection):
    source = "proc_sys_kernel_random"
    every_s = 15.0

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.context.procfs}/sys/kernel/random/entropy_avail")
        self._group = host.layout.add(host.columns((families.ENTROPY,)))

    def collect(self) -> None:
        self.write((parse_sysctl(self._file.read()),))


class Conntrack(FileSection):
    source = "proc_sys_net_netfilter"
    every_s = 5.0
    optional = True

    def __init__(self, host: Host) -> None:
        directory = f"{host.context.procfs}/sys/net/netfilter"
        super().__init__(host, f"{directory}/nf_conntrack_count")
        self._limit = host.keep(f"{directory}/nf_conntrack_max")
        self._group = host.layout.add(host.columns((families.CONNTRACK, families.CONNTRACK_LIMIT)))

    def collect(self) -> None:
        self.write((parse_sysctl(self._file.read()), parse_sysctl(self._limit.read())))

    def close(self) -> None:
        super().close()
        self._limit.close()


class Cpus(Section):
    source = "cpu_limits"
    every_s = 30.0

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._group = host.layout.add(host.columns((families.CPUS, families.CPUS_EFFECTIVE)))

    def collect(self) -> None:
        context = self._host.context
        online, allowed = context.online_cpus(), float(context.allowed_cpus())
        effective = None
        self.complete = True
        try:
            memberships = parse_proc_pid_cgroup(read_once(f"{context.procfs}/self/cgroup"), self.odd)
            limit = read_cpu_limit(context.cgroupfs, memberships)
            effective = allowed if limit is None else min(allowed, limit)
        except (OSError, ParseError) as error:
            self.complete = False
            self.fail(error)
        self.write_known((online, effective))


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _times(count: int | None, unit: int) -> int | None:
    return None if count is None else count * unit
