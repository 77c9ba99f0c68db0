"""The fields of a `multipart/form-data` body, as `curl -F` sends them."""

from __future__ import annotations

from collections.abc import Iterator

from prom_probe.web.api.reply import ApiError

MULTIPART = "multipart/form-data"

_MOST_PARTS = 1000


def form_fields(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """(name, value) of each part that is not a file. Raises ApiError where the body is malformed."""
    try:
        return list(_fields(content_type, body))
    except (IndexError, RecursionError):  # what `email` raises for a parameter cut short, and for parts nested deeply
        raise ApiError("bad_data", f"error parsing form values: malformed {MULTIPART}") from None


def _fields(content_type: str, body: bytes) -> Iterator[tuple[str, str]]:
    from email.parser import BytesParser
    from email.policy import HTTP

    header = b"content-type: " + content_type.encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(header + b"\r\n\r\n" + body)
    if not message.is_multipart() or message.defects:
        raise ApiError("bad_data", f"error parsing form values: malformed {MULTIPART}")
    parts = list(message.iter_parts())
    if len(parts) > _MOST_PARTS:
        raise ApiError("bad_data", f"error parsing form values: more than {_MOST_PARTS} parts")
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is None and isinstance(name, str):
            content = part.get_payload(decode=True)
            try:
                yield name, content.decode() if isinstance(content, bytes) else ""
            except UnicodeDecodeError:
                raise ApiError("bad_data", "error parsing form values: invalid UTF-8") from None
