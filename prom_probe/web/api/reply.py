"""The envelope of Prometheus's API: `{"status":"success","data":…}`, or an error and its kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from prom_probe.promql.literals import as_utf8
from prom_probe.web.http.message import JSON, Response

_encode = msgspec.json.Encoder().encode

# Prometheus's `errorType` -> HTTP status.
STATUS = {
    "bad_data": 400,
    "execution": 422,
    "canceled": 499,
    "timeout": 503,
    "internal": 500,
    "unavailable": 503,
    "not_found": 404,
}


def encode(data: Any) -> bytes:
    """JSON of plain data. Bytes that are not UTF-8, which a query's strings may have, are replaced, as Go does."""
    try:
        return _encode(data)
    except UnicodeEncodeError:
        return _encode(_replaced(data))


def _replaced(data: Any) -> Any:
    match data:
        case str():
            return as_utf8(data)
        case dict():
            return {_replaced(key): _replaced(value) for key, value in data.items()}
        case list() | tuple():
            return [_replaced(one) for one in data]
        case _:
            return data


class ApiError(Exception):
    """A request that cannot be answered; `kind` is a key of STATUS, the text is for the user."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def invalid(parameter: str, reason: object) -> ApiError:
    """The error for an invalid parameter, in Prometheus's words."""
    return ApiError("bad_data", f'invalid parameter "{parameter}": {reason}')


def failure(error: ApiError) -> Response:
    """The response to a request that failed."""
    body = {"status": "error", "errorType": error.kind, "error": str(error)}
    return Response(STATUS[error.kind], encode(body), JSON)


def tail(warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> bytes:
    """What follows `data`: warnings and infos, if any, and the closing brace."""
    notes = [
        b',"%s":%s' % (name, encode(list(texts)))
        for name, texts in ((b"warnings", warnings), (b"infos", infos))
        if texts
    ]
    return b"".join(notes) + b"}"


HEAD = b'{"status":"success","data":'


def success(data: object, warnings: Sequence[str] = ()) -> Response:
    """The response with `data` as JSON."""
    return Response(200, HEAD + encode(data) + tail(warnings), JSON)


def success_list(slices: Iterable[bytes], warnings: Sequence[str] = ()) -> Iterable[bytes]:
    """The pieces of a response whose data is a list, from the JSON of its slices (`a,b`, without brackets)."""
    comma = b"["
    yield HEAD
    for piece in slices:
        yield comma + piece
        comma = b","
    yield (b"[]" if comma == b"[" else b"]") + tail(warnings)
