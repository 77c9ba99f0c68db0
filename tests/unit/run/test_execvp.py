"""execvp(3), in processes that become what they look up."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

_BECOME = "import sys; from prom_probe.run.execvp import execvp; print('error', execvp(sys.argv[1:]))"


def become(folder: Path, *argv: str, path: str = "/usr/bin:/bin") -> str:
    done = subprocess.run(
        [sys.executable, "-c", _BECOME, *argv],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def script(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_a_script_without_an_interpreter_is_run_by_sh(tmp_path: Path) -> None:
    """By its path or found in PATH, with its arguments."""
    script(tmp_path / "bin" / "plain", 'echo "$0" $# "$2"\n')
    assert become(tmp_path, "bin/plain", "a", "b c") == "bin/plain 2 b c"
    assert become(tmp_path, "plain", "a", "b c", path=f"/nonexistent:{tmp_path}/bin") == f"{tmp_path}/bin/plain 2 b c"


def test_the_next_folder_of_path_is_tried_after_one_that_may_not_be_executed(tmp_path: Path) -> None:
    """A folder of that name, and a file without the right."""
    (tmp_path / "one" / "tool").mkdir(parents=True)
    script(tmp_path / "two" / "tool", "echo no\n", 0o644)
    script(tmp_path / "three" / "tool", "#!/bin/sh\necho yes\n")
    path = ":".join(str(tmp_path / name) for name in ("one", "two", "three"))
    assert become(tmp_path, "tool", path=path) == "yes"
    assert become(tmp_path, "tool", path=path.rpartition(":")[0]) == f"error {errno.EACCES}"
    assert become(tmp_path, "tool", path=f"{tmp_path}/two:/nonexistent") == f"error {errno.EACCES}"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("", errno.ENOENT),
        ("nosuch", errno.ENOENT),
        ("./nosuch", errno.ENOENT),
        (".", errno.EACCES),
        ("./", errno.EACCES),
        ("text/below", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("x" * 256, errno.ENAMETOOLONG),
    ],
)
def test_what_cannot_be_executed(tmp_path: Path, name: str, number: int) -> None:
    """The error number is the C library's."""
    script(tmp_path / "text", "")
    (tmp_path / "loop").symlink_to("loop")
    assert become(tmp_path, name, path=f"{tmp_path}:/usr/bin") == f"error {number}"


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    """It is no script for sh then."""
    script(tmp_path / "bad", "#!/no/such/interpreter\n")
    assert become(tmp_path, "./bad") == f"error {errno.ENOENT}"
