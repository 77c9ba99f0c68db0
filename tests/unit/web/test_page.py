"""The page's files: how they are served, what they may load, how large they are."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from prom_probe.web.context import About
from prom_probe.web.page.static import FOLDER
from tests.support.web_harness import serving

FILES = sorted(Path(FOLDER).iterdir())
SERVED = [path for path in FILES if path.suffix in (".html", ".css", ".js")]
OURS = [path for path in SERVED if path.suffix == ".js" and not path.name.startswith("uPlot")]
MOST_GZIP_BYTES = 90_000
CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"


@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.name)
def test_a_file_is_served_as_it_is(path: Path) -> None:
    """With its type, the policy, and a tag by which it need not come again; compressed where that is asked for."""
    target = "/" if path.name == "index.html" else f"/static/{path.name}"
    with serving() as site:
        plain = site.ask(target)
        assert (plain.status, plain.body) == (200, path.read_bytes())
        assert plain.headers["content-type"].startswith(f"text/{path.suffix[1:].replace('js', 'javascript')};")
        assert plain.headers["content-security-policy"].startswith(CSP)
        assert plain.headers["cache-control"] == "no-cache"
        packed = site.ask(target, Accept_Encoding="gzip")
        assert packed.headers["etag"] == plain.headers["etag"]
        if len(plain.body) >= 1024:
            assert gzip.decompress(packed.body) == plain.body
        again = site.ask(target, If_None_Match=f'"other", {plain.headers["etag"]}')
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == plain.headers["etag"]
        assert "content-length" not in again.headers
        assert site.ask(target, If_None_Match='W/"other"').status == 200
        head = site.ask(target, method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(plain.body)))


@pytest.mark.parametrize(
    "target",
    ["/static/none.js", "/static/../static.py", "/static/..%2fstatic.py", "/static/static.py", "/static/VENDORED.md"],
)
def test_nothing_else_is_served(target: str) -> None:
    """Neither what is not there, nor other files, nor other folders."""
    with serving() as site:
        assert site.ask(target).status == 404


def test_the_page_is_at_the_api_alone() -> None:
    """Other listeners have the table at `/`, with a link to the page; the API has it at `/status`."""
    about = About({}, page_url="http://localhost:1234")
    with serving(api=False, about=about) as site:
        assert '<a href="http://localhost:1234">' in site.ask("/").text
        assert site.ask("/status").text == site.ask("/").text
        assert site.ask("/static/page.css").status == 404
    with serving(about=about) as site:
        assert '<script type="module"' in site.ask("/").text
        assert '<a href="/">' in site.ask("/status").text
    with serving(api=False) as site:
        assert "Graphs" not in site.ask("/").text


def test_the_page_is_small() -> None:
    """All that the page loads, each file compressed as it is sent."""
    with serving() as site:
        sizes = {path.name: len(site.ask(f"/static/{path.name}", Accept_Encoding="gzip").body) for path in SERVED}
    assert sum(sizes.values()) <= MOST_GZIP_BYTES, sizes


def test_vendored_files_are_as_noted() -> None:
    """Version, licence and hash of what is not ours."""
    notes = (Path(FOLDER) / "VENDORED.md").read_text()
    rows = re.findall(r"^\| `(\S+)` \|.*\| ([\d.]+) \| MIT, `(\S+)` \| `([0-9a-f]{64})` \|$", notes, re.MULTILINE)
    assert {row[0] for row in rows} == {
        path.name for path in FILES if path.name.startswith("uPlot.") and path in SERVED
    }
    for name, version, licence, digest in rows:
        content = (Path(FOLDER) / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert "MIT" in (Path(FOLDER) / licence).read_text()
        assert b"(v" not in content[:80] or f"(v{version})".encode() in content[:80]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    """As the Python files do. Text stays text: nothing parses HTML."""
    text = path.read_text()
    assert text.startswith("// ")
    assert text.count("\n") <= 400
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert forbidden not in text


def test_modules_can_be_put_into_one_file() -> None:
    """A report has them in one script: each top-level name exists once, and imports have no other names."""
    names: Counter[str] = Counter()
    for path in OURS:
        text = path.read_text()
        names.update(re.findall(r"^(?:export )?(?:async )?(?:const|let|class|function)\s+(\w+)", text, re.MULTILINE))
        for imported in re.findall(r"^import (.*)", text, re.MULTILINE):
            assert re.fullmatch(r"\{ [\w, ]+ \} from '\./\w+\.js';", imported), (path.name, imported)
    assert [name for name, count in names.items() if count > 1] == []


def test_the_html_loads_what_is_here() -> None:
    """Only files of ours, and no script or style within."""
    text = (Path(FOLDER) / "index.html").read_text()
    for link in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert link in ("data:,", "/status") or (Path(FOLDER) / link.removeprefix("/static/")).exists(), link
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", text)
