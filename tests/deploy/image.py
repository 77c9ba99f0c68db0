"""Builds what the Dockerfile builds, without an engine: COPY and RUN of its first stage, replayed in a folder."""

from __future__ import annotations

import fnmatch
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.deploy.tools import DEPLOY, ROOT
from tests.support.waiting import DEADLINE_S

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"


class Step(NamedTuple):
    """An instruction of a Dockerfile."""

    word: str
    rest: str


def read_stages(text: str) -> list[list[Step]]:
    """The instructions by stage; what comes before the first FROM is a stage too."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[list[Step]] = [[]]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append(Step(word, rest.strip()))
    return stages


def ignored(path: str, text: str) -> bool:
    """Whether .dockerignore keeps a path (relative to the root) out: the last pattern that matches it or a folder
    above it decides."""
    verdict = False
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    for line in text.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            plain = pattern.removeprefix("!")
            shapes = {plain, plain.removeprefix("**/")} if plain.startswith("**/") else {plain}
            names = above + ([parts[-1], *parts] if plain.startswith("**/") else [])
            if any(fnmatch.fnmatchcase(name, shape) for name in names for shape in shapes):
                verdict = not pattern.startswith("!")
    return verdict


def build(folder: Path) -> Path:
    """Replay the first stage with `folder` as its root; where its /opt/prom-probe then is.

    AssertionError if a step fails. python and pip are this environment's, where the image has its base's.
    """
    source, target = folder / "src", folder / "opt" / "prom-probe"
    source.mkdir()
    target.parent.mkdir()
    dockerignore = (ROOT / ".dockerignore").read_text()
    for word, rest in read_stages(DOCKERFILE.read_text())[1]:
        if word == "COPY":
            *names, where = shlex.split(rest)
            for name in names:
                copy(name, source / where if len(names) == 1 else source / where / name, dockerignore)
        elif word == "RUN":
            _run(rest.replace("/src", str(source)).replace("/opt/prom-probe", str(target)), folder)
    return target


def copy(name: str, target: Path, dockerignore: str) -> None:
    """COPY of a file or folder of the checkout, without what .dockerignore keeps out."""
    path = ROOT / name
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and not ignored(str(file.relative_to(ROOT)), dockerignore):
            to = target / file.relative_to(path) if path.is_dir() else target
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
    assert target.exists(), f"{name} is not copied"


def _run(command: str, folder: Path) -> None:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for name, words in (("python", [base]), ("pip", [sys.executable, "-m", "pip"])):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
        (programs / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", command], env=env, cwd=folder, capture_output=True, text=True, timeout=5 * DEADLINE_S
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
