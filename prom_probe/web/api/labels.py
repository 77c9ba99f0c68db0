"""`/api/v1/labels`, `label/<name>/values`, `series` and `metadata`: what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.web.api.params import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    Parameters,
    limit_param,
    parameters_of,
    time_param,
    unescape_name,
    unquote,
)
from prom_probe.web.api.reply import ApiError, encode, invalid, success, success_list
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request, Response

# Up to this many stored series, listing all their labels takes less time than handing the job to a thread.
_INLINE_SERIES = 1000

# Series encoded at a time.
_SLICE = 256

TRUNCATED = "results truncated due to limit"


def labels(context: AppContext, request: Request) -> Answer:
    """All label names, or those of the series that `match[]` selects."""
    params = parameters_of(request)
    snapshot, (mint, maxt) = context.store.snapshot(), _times(params)

    def find(matchers: Sequence[Matcher], deadline: float) -> list[str]:
        return snapshot.label_names(mint, maxt, matchers, deadline=deadline)

    return _names(context, params, find)


def label_values(context: AppContext, request: Request) -> Answer:
    """The values of the label named in the path."""
    name = unescape_name(unquote(request.path.split("/")[4].encode("latin-1")))
    if not name:
        raise ApiError("bad_data", 'invalid label name: ""')
    params = parameters_of(request)
    snapshot, (mint, maxt) = context.store.snapshot(), _times(params)

    def find(matchers: Sequence[Matcher], deadline: float) -> list[str]:
        return snapshot.label_values(name, mint, maxt, matchers, deadline=deadline)

    return _names(context, params, find)


def series(context: AppContext, request: Request) -> Answer:
    """The label sets of the series that `match[]` selects."""
    params = parameters_of(request)
    limit = limit_param(params)
    if not params.all("match[]"):
        raise ApiError("bad_data", "no match[] parameter provided")
    snapshot, (mint, maxt) = context.store.snapshot(), _times(params)

    def job(deadline: float) -> Iterable[bytes]:
        found: set[Labels] = set()
        for matchers in selectors(params):
            found.update(snapshot.series(mint, maxt, matchers, deadline=deadline))
        ordered = sorted(found)
        cut = bool(limit) and len(ordered) > limit
        return success_list(_series_slices(ordered[: limit or None]), [TRUNCATED] if cut else ())

    return _run(context, params, job)


def _series_slices(ordered: Sequence[Labels]) -> Iterator[bytes]:
    for i in range(0, len(ordered), _SLICE):
        yield encode([dict(one) for one in ordered[i : i + _SLICE]])[1:-1]


def _names(context: AppContext, params: Parameters, find: Callable[[Sequence[Matcher], float], list[str]]) -> Answer:
    limit = limit_param(params)

    def job(deadline: float) -> Iterable[bytes]:
        found = [find(matchers, deadline) for matchers in selectors(params) or [[]]]
        names = found[0] if len(found) == 1 else sorted(set().union(*found))
        cut = bool(limit) and len(names) > limit
        return [success(names[: limit or None], [TRUNCATED] if cut else ()).body]

    return _run(context, params, job)


def _run(context: AppContext, params: Parameters, job: Callable[[float], Iterable[bytes]]) -> Answer:
    """Run the job on the loop where it cannot take long; a selector's regex may."""
    quick = not params.all("match[]") and context.store.stats().series <= _INLINE_SERIES
    return context.queries.run(job, context.limits.timeout_s, inline=quick)


def _times(params: Parameters) -> tuple[int, int]:
    return time_param(params, "start", MIN_TIME_MS), time_param(params, "end", MAX_TIME_MS)


def selectors(params: Parameters) -> list[list[Matcher]]:
    """The matchers of each `match[]`. Loads the parser: call it in a query's thread."""
    sets = []
    for text in params.all("match[]"):
        matchers = selector_of("match[]", text)
        if all(_matches_empty(matcher) for matcher in matchers):
            raise invalid("match[]", "match[] must contain at least one non-empty matcher")
        sets.append(matchers)
    return sets


def selector_of(parameter: str, text: str) -> list[Matcher]:
    """The matchers of a selector. Loads the parser: call it in a query's thread."""
    from prom_probe.promql.parser import parse_selector
    from prom_probe.promql.result import QueryError

    try:
        return parse_selector(text)
    except QueryError as error:
        raise invalid(parameter, error) from None


def _matches_empty(matcher: Matcher) -> bool:
    if matcher.op in ("=", "!="):
        return (matcher.value == "") == (matcher.op == "=")
    from prom_probe.model.regex import compile_anchored

    return compile_anchored(matcher.value).matches("") == (matcher.op == "=~")


def metadata(context: AppContext, request: Request) -> Response:
    """Type, help and unit of each metric: `metric`, `limit`, `limit_per_metric`."""
    params = parameters_of(request)
    limit, per_metric = metadata_limit(params, "limit"), metadata_limit(params, "limit_per_metric")
    wanted = params.get("metric")
    data: dict[str, list[dict[str, str]]] = {}
    for family in context.store.families():
        if wanted and family.name != wanted:
            continue
        if family.name not in data and 0 <= limit <= len(data):
            continue
        known = data.setdefault(family.name, [])
        entry = {"type": family.type, "help": family.help, "unit": family.unit}
        if entry not in known and not 0 < per_metric <= len(known):
            known.append(entry)
    return success(data)


def metadata_limit(params: Parameters, name: str) -> int:
    """A limit parameter of the metadata endpoints, -1 where it is absent."""
    text = params.get(name)
    if not text:
        return -1
    try:
        return int(text)
    except ValueError:
        raise ApiError("bad_data", f"{name} must be a number") from None
