"""Prints the newest release of CHANGELOG.md: its notes, or with --version its number.

A release is a heading such as "## 0.2.0". Exit status 1, with the reason, if there is none, or if package and chart say
another version.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Where else the version is, and how it is written there.
PLACES = {
    "prom_probe/__init__.py": r'^__version__ = "(.+)"$',
    "deploy/helm/prom-probe/Chart.yaml": r"^version: (.+)$",
}


def newest(changelog: str) -> tuple[str, str]:
    """Version and notes. ValueError if nothing has been released."""
    match = re.search(r"^## v?(\d+\.\d+\.\d+\S*).*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError("CHANGELOG.md has no heading with a version")
    return match[1], match[2].strip()


def check(version: str, root: Path) -> None:
    """ValueError where another version is written."""
    for name, pattern in PLACES.items():
        match = re.search(pattern, (root / name).read_text(), re.MULTILINE)
        if match is None or match[1] != version:
            raise ValueError(f"CHANGELOG.md releases {version}, but {name} says {match and match[1]}")


def main(argv: list[str], root: Path = ROOT) -> int:
    try:
        version, notes = newest((root / "CHANGELOG.md").read_text())
        check(version, root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(version if argv == ["--version"] else notes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
