"""What handlers work with: the store, the running queries, our own metrics, facts about the process."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prom_probe.exposition.formats import Format
from prom_probe.exposition.text import Exposition
from prom_probe.model.family import Family
from prom_probe.model.meter import Histogram
from prom_probe.model.series import Newest
from prom_probe.promql.limits import QueryLimits
from prom_probe.web.api.queries import Queries

if TYPE_CHECKING:
    from prom_probe.history.history import HistorySource
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.queryable import Queryable
    from prom_probe.remote.receiver import Receiver


class ServedStoreStats(Protocol):
    """What the API says about the store."""

    @property
    def series(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class ServedStore(Protocol):
    """What the handlers need of a store; `tsdb.store.Store` has it."""

    def newest(self) -> Sequence[Newest]:
        """The newest row of each collector."""

    def snapshot(self) -> Queryable:
        """An immutable view for a query, usable from any thread."""

    def families(self) -> Iterable[Family]:
        """Every known metric family."""

    def stats(self) -> ServedStoreStats:
        """How much is stored."""

    def chunks(self) -> int:
        """How many runs of one series' samples there are."""

    def oldest_ms(self) -> int | None:
        """The oldest timestamp; None if nothing is stored."""

    def newest_ms(self) -> int | None:
        """The newest one, likewise."""


class ServedTarget(NamedTuple):
    """A target of the scrape worker, as `/api/v1/targets` tells it; `labels` have its job."""

    labels: Mapping[str, str]
    url: str  # without secrets
    interval: str
    timeout: str


@dataclass(frozen=True)
class About:
    """What the status pages say about the process; the functions are called for each request."""

    build_info: Mapping[str, str]  # version, revision, …
    ready: Callable[[], bool] = lambda: True  # whether the first samples are stored
    config_yaml: Callable[[], str] = str  # without secrets
    flags: Callable[[], Mapping[str, str]] = dict
    targets: Callable[[], Mapping[str, ServedTarget]] = dict  # by collector
    fault_of: Callable[[str], str] = lambda collector: ""  # why its newest failure came about
    reload_succeeded: Callable[[], bool] = lambda: True
    reload: Callable[[], Future[str]] | None = None  # starts one; gives its error, "" for none. None: not allowed
    storage_retention: Callable[[], str] = str  # "6h or 32MiB"
    start_time_s: float = 0.0
    page_url: str = ""  # where the page is, as this machine reaches it; "" where no API listener has a port


@dataclass(frozen=True)
class Listener:
    """Where a request came in. `api`: the query API is served there. `loopback`: only this machine reaches it.

    `by_name`: clients name it by a Host, unlike a Unix socket. `guarded`: a password is needed where users are
    configured.
    """

    api: bool
    loopback: bool
    by_name: bool = True
    guarded: bool = False


_MOST_FORMATS = 3


@dataclass
class AppContext:
    """One per App; owned by the loop's thread."""

    store: ServedStore
    history: HistorySource
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
        """The query engine. Its first use imports numpy, which is slow: call it in a query's thread."""
        with self._loading:
            if self._engine is None:
                from prom_probe.promql.engine import Engine

                self._engine = Engine(self.limits)
            return self._engine

    def exposition(self, form: Format) -> Exposition:
        """The renderer of this format; the last few are kept, with what does not change between scrapes."""
        found = self.expositions.pop(form.content_type, None) or Exposition(form)
        while len(self.expositions) >= _MOST_FORMATS:
            del self.expositions[next(iter(self.expositions))]
        self.expositions[form.content_type] = found  # the last one used comes last
        return found

    def change(self, limits: QueryLimits) -> None:
        """Use other limits from the next query on."""
        with self._loading:
            self.limits = limits
            self._engine = None

    @property
    def engine_loaded(self) -> bool:
        """Whether a query can run on the loop, without importing anything."""
        return self._engine is not None
