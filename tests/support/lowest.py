"""Prints the lowest versions that pyproject.toml allows of what the program needs, as pip's constraints."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from tests.support.paths import ROOT

# Extras of those who develop it: whether their lowest versions work is nobody's concern.
DEVELOPMENT = {"test", "lint", "bench"}


def lowest(project: dict[str, Any]) -> list[str]:
    """A line NAME==VERSION for each requirement. Raises ValueError for one without a lower bound."""
    needed = list(project["dependencies"])
    for name, requirements in project["optional-dependencies"].items():
        needed += [] if name in DEVELOPMENT else requirements
    return [_pinned(requirement) for requirement in needed]


def _pinned(requirement: str) -> str:
    found = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement)
    if found is None:
        raise ValueError(f"not NAME>=VERSION: {requirement}")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])))
