"""The page's files: at `/` of the API listeners its HTML, at `/static/` what that loads."""

from __future__ import annotations

import hashlib
import os
import re

from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Request, Response, plain

FOLDER = os.path.join(os.path.dirname(__file__), "static")

# By the end of a file's name. What is not named here is not served.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

# Nothing but our own scripts and styles, no inline ones; data and files from here alone; not to be framed.
_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),  # to be kept, and asked about each time
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")


def index(context: AppContext, request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


def file(context: AppContext, request: Request) -> Response:
    """One of the files that the page loads."""
    return _answer(request, request.path.rpartition("/")[2])


def _answer(request: Request, name: str) -> Response:
    """The file, or 304 if the client has it already. It is read each time: nothing of the page stays in memory."""
    content_type = _TYPES.get(os.path.splitext(name)[1])
    if content_type is None or not _NAME.fullmatch(name):
        return plain(404, "404 page not found")
    try:
        with open(os.path.join(FOLDER, name), "rb") as opened:
            body = opened.read()
    except OSError:
        return plain(404, "404 page not found")
    # Weak, as it stands for the compressed answer too.
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = (*_HEADERS, ("ETag", tag))
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(304, headers=headers)
    return Response(200, body, content_type, headers)


def _has(if_none_match: str, tag: str) -> bool:
    """Whether one of the client's tags is ours, compared weakly (RFC 9110, 13.1.2)."""
    wanted = tag.removeprefix("W/")
    tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in tags or wanted in tags
