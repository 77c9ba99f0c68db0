"""`POST /api/v1/write`: Prometheus's remote write 1.0, where it is switched on."""

from __future__ import annotations

from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request, plain

_MEDIA_TYPE = "application/x-protobuf"
_MESSAGE = "prometheus.WriteRequest"
_ENCODING = "snappy"


def write(context: AppContext, request: Request) -> Answer:
    """Store a request's samples: 204 for all of them, 400 with the reasons where some or all cannot be stored.

    As in Prometheus, a request that does not say what it is, is taken for what it should be.
    """
    if context.receiver is None:
        return plain(404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver")
    reason = _foreign_type(request.headers.get("content-type", "")) or _foreign_encoding(
        request.headers.get("content-encoding", "")
    )
    return plain(415, reason) if reason else context.receiver.write(request.body)


def _foreign_type(content_type: str) -> str:
    """What is wrong with a content type, "" if nothing."""
    media_type, *parameters = content_type.split(";")
    if content_type and media_type.strip().lower() != _MEDIA_TYPE:
        return f"content type {content_type!r} is not accepted here, only {_MEDIA_TYPE}"
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "proto" and value.strip('"') != _MESSAGE:
            return f"protobuf message {value!r} is not accepted here, only {_MESSAGE} (remote write 1.0)"
    return ""


def _foreign_encoding(content_encoding: str) -> str:
    """What is wrong with a content encoding, "" if nothing."""
    if content_encoding.strip().lower() in ("", _ENCODING):
        return ""
    return f"content encoding {content_encoding!r} is not accepted here, only {_ENCODING}"
