"""A report's HTML: the page, its looks, its scripts, the facts and the data, in one file that loads nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import os
import re
from collections.abc import Iterator, Sequence

from prom_probe.cli.report.bundle import bundle
from prom_probe.web.page.static import FOLDER

_STYLES = ("uPlot.min.css", "page.css", "report.css")
_LIBRARY = "uPlot.iife.min.js"
_MAIN = "report.js"

# What the page loads, and where it leads to: a report has all inside, and no sidecar beside it.
_LOADED = re.compile(r'<link rel="stylesheet"[^>]*>\n|<script [^>]*></script>\n')
_STATUS = re.compile(r' *<a href="/status">[^<]*</a>\n|<noscript>.*?</noscript>\n', re.DOTALL)

# Base64 in pieces: each a multiple of 3 bytes.
_SLICE = 3 << 16


def write_document(title: str, facts: Sequence[tuple[str, str]], data: bytes) -> Iterator[bytes]:
    """The file in pieces. `facts`: names and what they are, in words; `data`: see packing.py."""
    style = "".join(map(_read, _STYLES))
    library = _read(_LIBRARY)
    script = bundle(FOLDER, _MAIN)
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>\n'
    page = _STATUS.sub("", _LOADED.sub("", _read("index.html")))
    page = re.sub(r"<title>.*?</title>", lambda _: f"<title>{html.escape(title)}</title>", page, count=1)
    page = page.replace('<meta charset="utf-8">\n', f'<meta charset="utf-8">\n{head}', 1)
    page = page.replace("<main", f"{_facts(facts)}\n<main", 1)
    before, after = page.split("</body>")
    yield before.encode()
    yield b'<script type="application/octet-stream" id="recording">'
    packed = gzip.compress(data, 9, mtime=0)
    for start in range(0, len(packed), _SLICE):
        yield base64.b64encode(packed[start : start + _SLICE])
    yield b"</script>\n"
    yield f'<script>{library}</script>\n<script type="module">{script}</script>\n</body>{after}'.encode()


def _read(name: str) -> str:
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def _hash(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>\n" for name, value in facts)
    return f'<dl class="facts" aria-label="Facts">\n{rows}</dl>'
