"""The system collector: the sections that make up the whole machine, each read at its own interval."""

import msgspec

from prom_probe.collectors.base import Context
from prom_probe.collectors.odd_rows import OddRowColumns
from prom_probe.collectors.system import families, kernel
from prom_probe.collectors.system.filesystems import Filesystems
from prom_probe.collectors.system.hardware import Frequencies, Temperatures
from prom_probe.collectors.system.network_and_disks import Disk, Network
from prom_probe.collectors.system.section import Host, Section
from prom_probe.model.definition import READABLE
from prom_probe.model.family import column
from prom_probe.model.layout import Layout
from prom_probe.sources.errors import ParseError

# Beats come a little early or late: a section that is due within this time is read now.
_EARLY_S = 0.05


class SystemCollector:
    """See `Collector`."""

    name = "system"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._descriptors = context.descriptors
        self._host = host = Host(context, self.layout)
        self._stat = kernel.Stat(host)
        self._sections: list[Section] = [
            self._stat,
            kernel.Load(host),
            kernel.Meminfo(host),
            *(kernel.Pressure(host, resource, rows) for resource, rows in families.PRESSURE),
            Network(host),
            Disk(host),
            kernel.Cpus(host),
            kernel.Sockets(host),
            kernel.Vmstat(host),
            kernel.Files(host),
            kernel.Entropy(host),
            kernel.Conntrack(host),
            Filesystems(host),
            Frequencies(host),
            Temperatures(host),
        ]
        self._begun = False
        self._odd_rows = OddRowColumns(self.layout, context.odd_rows)
        self._time = self.layout.add(host.columns((families.TIME,)))
        self._readable = self.layout.add(column(READABLE.family, source=section.source) for section in self._sections)

    def collect(self) -> None:
        self.layout.maybe_compact()
        self._host.now_s = now = self._context.monotonic()
        row, readable_start = self.layout.row, self._readable.start
        row[self._time.start] = self._context.wall()
        for number, section in enumerate(self._sections):
            if now < section.due_s:
                continue
            if section.every_s:
                section.due_s = now + self._wait_s(number)
            try:
                section.collect()
                readable = section.complete
            except (OSError, ParseError, OverflowError) as error:  # OverflowError: a number too large for a float
                section.end()
                readable = False
                section.fail(error)
            row[readable_start + number] = readable
        self._odd_rows.write()
        self._begun = True

    def _wait_s(self, number: int) -> float:
        """Seconds until the section is read again. The first wait differs, so that sections share out the beats."""
        every_s = self._sections[number].every_s
        shift = 0.0 if self._begun else every_s * number / len(self._sections)
        return every_s + shift - _EARLY_S

    def checkpoint(self) -> bytes:
        return msgspec.msgpack.encode((self._odd_rows.save(), self._stat.cpu.save()))

    def restore(self, state: bytes) -> None:
        try:
            odd_rows, cpu = msgspec.msgpack.decode(state, type=tuple[bytes, object])
        except msgspec.DecodeError:
            return
        self._odd_rows.restore(odd_rows)
        self._stat.cpu.restore(cpu)

    def close(self) -> None:
        for section in self._sections:
            section.close()
