"""Real programs that tests need: where they are, and what happens where they are missing."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test, or fail under REQUIRE_REAL."""
    if os.environ.get("REQUIRE_REAL"):
        pytest.fail(f"{what}, and REQUIRE_REAL is set")
    pytest.skip(what)


def program(name: str) -> str:
    """The path of a real peer; without it the test is skipped, or fails under REQUIRE_REAL."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("REQUIRE_REAL"):
            pytest.fail(f"{name} is not installed, and REQUIRE_REAL is set")
        pytest.skip(f"{name} is not installed")
    return path
