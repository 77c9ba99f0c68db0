"""`/api/v1/processes`, `/api/v1/events` and `/api/v1/run`: what happened beside the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, get_args

import msgspec

from prom_probe.model.run_event import EventType
from prom_probe.web.api.params import MAX_TIME_MS, MIN_TIME_MS, Parameters, parameters_of, time_param
from prom_probe.web.api.reply import encode, invalid, success, success_list
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request, Response

if TYPE_CHECKING:
    from prom_probe.history.history import HistoryShot

EVENT_TYPES: tuple[str, ...] = get_args(EventType)

# Up to this many records, answering takes less time than handing the job to a thread.
_INLINE_RECORDS = 200

# Records encoded at a time.
_SLICE = 256


def processes(context: AppContext, request: Request) -> Answer:
    """The processes that had samples from `start` to `end`, the largest memory peak first: `tree`, repeatable."""
    params = parameters_of(request)
    (start, end), trees = _times(params), params.all("tree")
    return _run(context, lambda shot: shot.processes(start, end, trees))


def events(context: AppContext, request: Request) -> Answer:
    """What happened from `start` to `end`, oldest first: `type` and `tree`, repeatable."""
    params = parameters_of(request)
    (start, end), types, trees = _times(params), params.all("type"), params.all("tree")
    for one in types:
        if one not in EVENT_TYPES:
            raise invalid("type", f"unknown event type {one!r}; there are {', '.join(EVENT_TYPES)}")
    return _run(context, lambda shot: shot.events(start, end, types, trees))


def run(context: AppContext, request: Request) -> Response:
    """What is watched, since when, and how it ended."""
    return success(context.history.shot().run)


def _times(params: Parameters) -> tuple[float, float]:
    """Unix seconds."""
    start_ms, end_ms = time_param(params, "start", MIN_TIME_MS), time_param(params, "end", MAX_TIME_MS)
    if end_ms < start_ms:
        raise invalid("end", "end timestamp must not be before start time")
    return start_ms / 1000, end_ms / 1000


def _run(context: AppContext, find: Callable[[HistoryShot], Sequence[msgspec.Struct]]) -> Answer:
    shot = context.history.shot()

    def job(deadline: float) -> Iterable[bytes]:
        found = find(shot)
        slices = (found[i : i + _SLICE] for i in range(0, len(found), _SLICE))
        return success_list(encode(list(map(msgspec.structs.asdict, part)))[1:-1] for part in slices)

    size = len(shot.lives) + len(shot.ended) + len(shot.happened)
    return context.queries.run(job, context.limits.timeout_s, inline=size <= _INLINE_RECORDS)
