"""What tests fetch from npm and PyPI: kept in the user's cache, once for all checkouts and all processes of tests."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.programs import missing, program
from tests.support.waiting import DEADLINE_S

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prom-probe-tests"


def fetched(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache, which `fill` has filled whole, then or before."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
                filled = Path(fresh, name)
                filled.mkdir()
                fill(filled)
                filled.rename(folder)
    return folder


@functools.cache
def node_modules(folder: Path, *flags: str) -> Path:
    """What npm gives for the package.json in `folder`, and for its lock where it has one: linked there, by its name."""
    program("node")
    asked = [path for path in (folder / "package.json", folder / "package-lock.json") if path.exists()]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in asked)).hexdigest()[:16]

    def install(into: Path) -> None:
        for path in asked:
            shutil.copy(path, into)
        how = ["ci"] if len(asked) > 1 else ["install", "--no-package-lock"]
        command = [program("npm"), *how, "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", *flags]
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=5 * DEADLINE_S)
        if done.returncode:
            missing(f"npm cannot install what {folder / 'package.json'} names: {done.stderr[-500:]}")

    modules, link = fetched(f"npm-{digest}", install) / "node_modules", folder / "node_modules"
    if not link.is_symlink() or link.readlink() != modules:
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        other = folder / f"node_modules.{os.getpid()}"
        other.symlink_to(modules)
        other.replace(link)
    return modules
