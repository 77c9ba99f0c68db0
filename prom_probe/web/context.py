"""What handlers need of the world: the store, the running queries, our own metrics, and facts about the process."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from prom_probe.exposition.formats import Format
from prom_probe.exposition.text import Exposition
from prom_probe.model.family import Family
from prom_probe.model.meter import Histogram
from prom_probe.model.series import Newest
from prom_probe.promql.limits import QueryLimits
from prom_probe.web.api.queries import Queries

if TYPE_CHECKING:
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.queryable import Queryable
    from prom_probe.remote.receiver import Receiver


class ServedStoreStats(Protocol):
    """What the API tells about the store."""

    @property
    def series(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class ServedStore(Protocol):
    """What the served face needs of a store; `tsdb.store.Store` fits it."""

    def newest(self) -> Sequence[Newest]:
        """The newest row of each collector."""

    def snapshot(self) -> Queryable:
        """An immutable view for a query, for any thread."""

    def families(self) -> Iterable[Family]:
        """Every metric family known."""

    def stats(self) -> ServedStoreStats:
        """Counts of what is stored."""


@dataclass(frozen=True)
class About:
    """What the status pages tell of the process; each is read when it is asked for."""

    build_info: Mapping[str, str]  # version, revision, …
    ready: Callable[[], bool] = lambda: True  # whether the first samples are stored
    config_yaml: Callable[[], str] = str  # without secrets
    flags: Callable[[], Mapping[str, str]] = dict
    reload_succeeded: Callable[[], bool] = lambda: True
    reload: Callable[[], Future[str]] | None = None  # asks for one and gives its error, "" for none; None: not allowed
    storage_retention: Callable[[], str] = str  # "6h or 32MiB"
    start_time_s: float = 0.0


_MOST_FORMATS = 3


@dataclass
class AppContext:
    """One per App; owned by the loop's thread."""

    store: ServedStore
    limits: QueryLimits
    about: About
    clock: Callable[[], float]  # wall clock, seconds
    queries: Queries
    query_seconds: Histogram
    scrape_seconds: Histogram
    receiver: Receiver | None = None  # None where remote write is off
    expositions: dict[str, Exposition] = field(default_factory=dict)  # by content type
    _engine: Engine | None = None
    _loading: Lock = field(default_factory=Lock)

    def engine(self) -> Engine:
        """The query engine; its first use imports numpy, which costs memory and time: call it in a query's thread."""
        with self._loading:
            if self._engine is None:
                from prom_probe.promql.engine import Engine

                self._engine = Engine(self.limits)
            return self._engine

    def exposition(self, form: Format) -> Exposition:
        """What renders this format; a few formats keep what stays the same between two scrapes."""
        found = self.expositions.pop(form.content_type, None) or Exposition(form)
        while len(self.expositions) >= _MOST_FORMATS:
            del self.expositions[next(iter(self.expositions))]
        self.expositions[form.content_type] = found  # the newest is the last
        return found

    def change(self, limits: QueryLimits) -> None:
        """Let the next query have other limits; those that run keep theirs."""
        with self._loading:
            self.limits = limits
            self._engine = None

    @property
    def engine_loaded(self) -> bool:
        """Whether a query can run on the loop, without importing anything."""
        return self._engine is not None
