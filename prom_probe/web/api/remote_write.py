"""`POST /api/v1/write`: Prometheus's remote write 1.0, where it is enabled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prom_probe.remote.write_request import BadRequest
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Pending, Request, Response, plain

if TYPE_CHECKING:
    from prom_probe.remote.receiver import Receiver

_MEDIA_TYPE = "application/x-protobuf"
_MESSAGE = "prometheus.WriteRequest"
_ENCODING = "snappy"


def write(context: AppContext, request: Request) -> Answer:
    """Store a request's samples: 204 if all are stored, 400 with the reasons if some are not.

    As in Prometheus, missing headers are taken for the right ones.
    """
    if context.receiver is None:
        return plain(404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver")
    reason = _foreign_type(request.headers.get("content-type", "")) or _foreign_encoding(
        request.headers.get("content-encoding", "")
    )
    return plain(415, reason) if reason else store(context.receiver, request.body)


def store(receiver: Receiver, body: bytes) -> Pending:
    """The answer to a request with this body, which the receiver stores when its turn comes."""
    answer = Pending()
    answer.queued = True

    def begun() -> None:
        answer.queued = False

    def written(account: asyncio.Future[str]) -> None:
        if not answer.done():
            answer.set_result(_response(account))

    def given_up(answer: asyncio.Future[Response]) -> None:
        if answer.cancelled():
            account.cancel()

    account = receiver.write(body, begun)
    account.add_done_callback(written)
    answer.add_done_callback(given_up)
    return answer


def _response(account: asyncio.Future[str]) -> Response:
    error = account.exception()
    if isinstance(error, BadRequest):
        return plain(400, f"not a usable remote write request, nothing of it is stored: {error}")
    if error is not None:
        return plain(500)
    refused = account.result()
    return plain(400, refused) if refused else Response(204)


def _foreign_type(content_type: str) -> str:
    """Why a content type is not accepted, "" if it is."""
    media_type, *parameters = content_type.split(";")
    if content_type and media_type.strip().lower() != _MEDIA_TYPE:
        return f"content type {content_type!r} is not accepted here, only {_MEDIA_TYPE}"
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "proto" and value.strip('"') != _MESSAGE:
            return f"protobuf message {value!r} is not accepted here, only {_MESSAGE} (remote write 1.0)"
    return ""


def _foreign_encoding(content_encoding: str) -> str:
    """Why a content encoding is not accepted, "" if it is."""
    if content_encoding.strip().lower() in ("", _ENCODING):
        return ""
    return f"content encoding {content_encoding!r} is not accepted here, only {_ENCODING}"
