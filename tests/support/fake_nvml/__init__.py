"""Builds a libnvidia-ml.so.1 that answers from a state file, for tests and benchmarks without a GPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml.c")


def build(directory: Path, *, old: bool = False) -> Path:
    """The directory for LD_LIBRARY_PATH. `old`: without the functions that drivers before 550 lack.

    Skips the test where there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the fake driver library with")
    directory.mkdir(parents=True, exist_ok=True)
    flags = ["-DOLD_DRIVER"] if old else []
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", *flags, "-o"]
    subprocess.run([*command, str(directory / "libnvidia-ml.so.1"), str(SOURCE)], check=True)
    return directory


class State:
    """The state file: lines of words, see nvml.c."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, str] = {}
        self.set("devices", 1)

    def set(self, key: str, *values: object) -> None:
        """Give the line that begins with `key` (words separated by spaces) these values."""
        self._lines[key] = " ".join([key, *map(str, values)])
        self._write()

    def set_all(self, lines: Mapping[str, tuple[object, ...]]) -> None:
        """Several lines at once."""
        self._lines.update({key: " ".join([key, *map(str, values)]) for key, values in lines.items()})
        self._write()

    def unset(self, key: str) -> None:
        self._lines.pop(key, None)
        self._write()

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in self._lines.values()))
        new.replace(self.path)
