"""The application: routes a request to its handler and counts the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from prom_probe.log import describe_error
from prom_probe.model.meter import Cell, Meter
from prom_probe.promql.limits import QueryLimits
from prom_probe.web import families
from prom_probe.web.access import HostRules
from prom_probe.web.api.queries import Queries
from prom_probe.web.api.reply import ApiError, failure
from prom_probe.web.context import About, AppContext, Listener, ServedStore
from prom_probe.web.http.incidents import Incidents
from prom_probe.web.http.message import Answer, Pending, Request, Response, plain
from prom_probe.web.routes import Route, maybe_route

if TYPE_CHECKING:
    from prom_probe.history.history import HistorySource
    from prom_probe.remote.receiver import Receiver
    from prom_probe.web.http.passwords import Passwords
    from prom_probe.web.http.security import Security

_QUERY_BOUNDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0)
_SCRAPE_BOUNDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)

# The label value of requests without a route: their paths would be an unbounded number of series.
_NO_ROUTE = "none"

_CORS = (
    b"Access-Control-Allow-Origin: %b\r\n"
    b"Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: Accept, Authorization, Content-Type, Origin\r\n"
    b"Access-Control-Expose-Headers: Date\r\nVary: Origin\r\n"
)


class App:
    """Answers requests. To be called from the loop's thread only.

    `meter` gets our own metrics. `clock` gives wall-clock seconds. `allowed_hosts`, `cors_origin`: see `HostRules`.
    `receiver`: stores remote writes; None where that is off.
    """

    def __init__(
        self,
        store: ServedStore,
        *,
        history: HistorySource,
        meter: Meter,
        limits: QueryLimits,
        about: About,
        log: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
        allowed_hosts: Iterable[str] = (),
        receiver: Receiver | None = None,
        security: Security | None = None,
        cors_origin: str | None = None,
    ) -> None:
        self.log = log
        self.clock = clock
        self.incidents = Incidents(meter, log)
        self._meter = meter
        self._security = security
        self._access = HostRules(allowed_hosts, cors_origin)
        self._checking: set[asyncio.Task[None]] = set()
        self._codes: dict[tuple[str, int], Cell] = {}
        self._queries = Queries(limits.max_concurrency, limits.alone_s, log)
        self._context = AppContext(
            store=store,
            history=history,
            limits=limits,
            about=about,
            clock=clock,
            queries=self._queries,
            query_seconds=meter.histogram(families.QUERY_DURATION.family, _QUERY_BOUNDS),
            scrape_seconds=meter.histogram(families.SCRAPE_DURATION.family, _SCRAPE_BOUNDS),
            receiver=receiver,
        )

    def answer(self, request: Request, listener: Listener) -> Answer:
        """The answer to `request`."""
        route = maybe_route(request.path)
        passwords = self._security.passwords if self._security is not None and listener.guarded else None
        if passwords is not None and (route is None or not route.open):
            credentials = request.headers.get("authorization", "")
            verdict = passwords.known(credentials)
            if verdict is None:
                return self._when_checked(passwords, credentials, route, request, listener)
            if not verdict:
                return self.counted(_unauthorized(), route.path if route is not None else _NO_ROUTE)
        return self._routed(route, request, listener)

    def _when_checked(
        self,
        passwords: Passwords,
        credentials: str,
        route: Route | None,
        request: Request,
        listener: Listener,
    ) -> Pending:
        """The answer once another thread has checked the password."""
        from prom_probe.web.http.passwords import Busy

        answer = Pending()

        async def check() -> None:
            handler = route.path if route is not None else _NO_ROUTE
            try:
                right = await passwords.check(credentials)
            except Busy:
                response: Answer = self.counted(plain(503, "too many passwords are waiting to be checked"), handler)
            else:
                response = self._routed(route, request, listener) if right else self.counted(_unauthorized(), handler)
            if isinstance(response, Pending):
                answer.add_done_callback(partial(_cancel_too, response))
                response = await response
            if not answer.done():
                answer.set_result(response)

        task = asyncio.get_running_loop().create_task(check())
        self._checking.add(task)
        task.add_done_callback(self._checking.discard)
        return answer

    def _routed(self, route: Route | None, request: Request, listener: Listener) -> Answer:
        if route is None or (route.api and not listener.api):
            return self.counted(plain(404, "404 page not found"))
        try:
            answer = self._refusal(route, request, listener) or route.handler_on(listener.api)(self._context, request)
        except ApiError as error:
            answer = failure(error)
        except Exception as error:
            self.log("error", f"answering {route.path} failed: {describe_error(error)}")
            answer = plain(500)
        if isinstance(answer, Pending):
            answer.add_done_callback(lambda done: None if done.cancelled() else self.counted(done.result(), route.path))
            return answer
        return self.counted(answer, route.path)

    def accepts_large_body(self, path: str) -> bool:
        """Whether a request to `path` on an API listener may have a large body."""
        route = maybe_route(path)
        return route is not None and route.large_body and self._context.receiver is not None

    def counted(self, response: Response, handler: str = _NO_ROUTE) -> Response:
        """`response`, after counting it for the route `handler`."""
        key = (handler, response.status)
        cell = self._codes.get(key)
        if cell is None:
            cell = self._codes[key] = self._meter.cell(
                families.REQUESTS.family, handler=handler, code=str(response.status)
            )
        cell.add()
        return response

    def cors_lines(self, request: Request) -> bytes:
        """The header lines that let a page of a configured origin read the answer; none for other origins."""
        origin = request.headers.get("origin", "")
        if not self._access.may_read(origin):
            return b""
        return _CORS % origin.encode("latin-1", "replace")

    def change(self, limits: QueryLimits, allowed_hosts: Iterable[str], cors_origin: str | None = None) -> None:
        """Apply reloaded settings: query limits, accepted Host names, and the origins whose pages may read answers."""
        self._access = HostRules(allowed_hosts, cors_origin)
        self._context.change(limits)

    def close(self) -> None:
        """Start no more queries."""
        self._queries.close()

    def _refusal(self, route: Route, request: Request, listener: Listener) -> Response | None:
        """The answer to a request that the route does not accept; None where it does."""
        if request.method not in route.methods:
            return plain(405, headers=(("Allow", ", ".join(route.methods)),))
        if listener.api and listener.by_name and not route.any_host:
            fault = self._access.maybe_fault(request, listener.loopback)
            if fault:
                return plain(403, fault)
        if request.method == "OPTIONS":
            return Response(204)
        return None


def _cancel_too(inner: Pending, outer: asyncio.Future[Response]) -> None:
    if outer.cancelled():
        inner.cancel()


def _unauthorized() -> Response:
    return plain(401, headers=(("WWW-Authenticate", "Basic"),))
