"""What a section of the system collector is: the series of one source, with a pace of its own."""

from array import array
from collections.abc import Callable, Iterable
from math import inf

from prom_probe.collectors.base import Context
from prom_probe.model.definition import Definition
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.sources.descriptors import KeptFile, read_first


class Host:
    """What the sections of a collector share."""

    def __init__(self, context: Context, layout: Layout) -> None:
        self.context = context
        self.layout = layout
        self.now_s = 0.0  # when the collection began, by the monotonic clock
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
    """The series of one source; those in `_group` are always there."""

    source: str
    # Seconds between two readings; what costs much or changes seldom has more than 0, which is every collection.
    every_s = 0.0
    # When it wants to be read again, by the monotonic clock.
    due_s = -inf
    # Many machines do not have it, which is no reason for a line in the log.
    optional = False
    # Whether all of it could be read the last time; if none of it could, `collect` raises.
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

    def end(self) -> None:
        """The source cannot be read: end its series."""
        self.write([STALE] * len(self._group.columns))

    def close(self) -> None:
        pass


class FileSection(Section):
    """A section that is one file."""

    def __init__(self, host: Host, path: str, read: Callable[[int], bytes] = read_first) -> None:
        super().__init__(host)
        self._file = host.keep(path, read)

    def close(self) -> None:
        self._file.close()
