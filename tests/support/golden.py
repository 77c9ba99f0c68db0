"""Golden files: compared by tests, written anew by `make golden`."""

from __future__ import annotations

import os

from tests.support.paths import FIXTURES


def check(name: str, text: str) -> None:
    """Compare `text` with the file, or write it there where GOLDEN=write says so."""
    path = FIXTURES / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    expected = path.read_text().splitlines()
    assert text.splitlines() == expected, f"tests/fixtures/{name} differs; if that is meant: make golden"
