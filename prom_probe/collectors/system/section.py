"""A section of the system collector: the series of one source, read at its own interval."""

import errno
from array import array
from collections.abc import Callable, Iterable
from math import inf

from prom_probe.collectors.base import Context
from prom_probe.collectors.system.devices import DroppedDevices
from prom_probe.model.definition import Definition
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.descriptors import KeptFile, read_first
from prom_probe.sources.errors import ParseError

# What a kernel answers that lacks something, or has it turned off.
_LACKING = (errno.ENOENT, errno.EOPNOTSUPP)


class Host:
    """What the sections of a collector share: the context, the layout, the log."""

    def __init__(self, context: Context, layout: Layout) -> None:
        self.context = context
        self.layout = layout
        self.now_s = 0.0  # when the collection began, by the monotonic clock
        self.dropped = DroppedDevices(layout)
        self._said: set[str] = set()

    def columns(self, definitions: Iterable[Definition], **labels: str) -> tuple[Column, ...]:
        """Columns of these families, exposed as the context says."""
        exposed = self.context.expose_system
        return tuple(column(definition.family, exposed=exposed, **labels) for definition in definitions)

    def keep(self, path: str, read: Callable[[int], bytes] = read_first) -> KeptFile:
        return KeptFile(path, self.context.descriptors, read)

    def say(self, what: str) -> None:
        """Log it, once."""
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self.context.log("warn", what)


class Section:
    """The series of one source; those in `_group` have their columns from the start."""

    source: str
    # Seconds between two readings, 0 for each collection; more where a reading is expensive or changes are rare.
    every_s = 0.0
    # When it is due again, by the monotonic clock.
    due_s = -inf
    # Many machines lack it: that is not logged.
    optional = False
    # Whether the last reading was complete; where nothing could be read, `collect` raises.
    complete = True
    _group: Group

    def __init__(self, host: Host) -> None:
        self._host = host
        self._layout = host.layout

    def collect(self) -> None:
        """Raises OSError, ParseError."""
        raise NotImplementedError

    def write(self, values: Iterable[float]) -> None:
        start = self._group.start
        self._layout.row[start : start + len(self._group.columns)] = array("d", values)

    def write_known(self, values: Iterable[float | None]) -> None:
        """None for what is not known, which has no series."""
        self.write([STALE if value is None else value for value in values])

    def odd(self, row: bytes) -> None:
        """Count a row of the source that is skipped."""
        self._host.context.odd_rows.count(self.source, row)

    def fail(self, error: Exception) -> None:
        """Something could not be read: count a text that is odd, log anything else."""
        if isinstance(error, ParseError):
            self.odd(error.text)
        elif not (self.optional and isinstance(error, OSError) and error.errno in _LACKING):
            self._host.say(str(error))

    def end(self) -> None:
        """End the series: the source cannot be read."""
        self.write([STALE] * len(self._group.columns))

    def close(self) -> None:
        pass


class FileSection(Section):
    """A section that is one file."""

    def __init__(self, host: Host, path: str, read: Callable[[int], bytes] = read_first) -> None:
        super().__init__(host)
        self._file = host.keep(path, read)
        self._written = b""  # what the series say, for a section that skips a text which it has parsed before

    def odd(self, row: bytes) -> None:
        self._written = b""  # to be counted the next time too
        super().odd(row)

    def end(self) -> None:
        self._written = b""
        super().end()

    def close(self) -> None:
        self._file.close()
