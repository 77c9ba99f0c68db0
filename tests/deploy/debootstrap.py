"""Replays the Dockerfile in a Debian made by debootstrap: each RUN step as root, the program as the image's user.

    python -m tests.deploy.debootstrap [FOLDER]

Needs root, debootstrap and the network; FOLDER (build/debootstrap) is made anew. Debian's Python stands for the base's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy.image import DOCKERFILE, copy, read_stages
from tests.deploy.tools import ROOT, run

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
CHROOT = "/usr/sbin/chroot"
# What the machine asks pip to do, and where names and certificates are.
SETTINGS = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")


def make_root(root: Path) -> None:
    """A minimal Debian with Python under the names that the base image has."""
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for name in SETTINGS:
        if os.path.exists(name):
            shutil.copy(name, root / name[1:])


def replay(root: Path) -> None:
    """COPY and RUN of the first stage. AssertionError where a step fails."""
    source = root / "src"
    source.mkdir()
    dockerignore = (ROOT / ".dockerignore").read_text()
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}
    env |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for word, rest in read_stages(DOCKERFILE.read_text())[1]:
        if word == "COPY":
            *names, where = shlex.split(rest)
            for name in names:
                copy(name, source / where if len(names) == 1 else source / where / name, dockerignore)
        elif word == "RUN":
            print(f"RUN {rest}", flush=True)
            run([CHROOT, root, "sh", "-ec", rest], env=env)


def start(root: Path) -> str:
    """What the program prints as the image's user; nothing may be compiled for it."""
    last = read_stages(DOCKERFILE.read_text())[-1]
    (user,) = (step.rest for step in last if step.word == "USER")
    (settings,) = (step.rest for step in last if step.word == "ENV")
    env = dict(word.split("=", 1) for word in shlex.split(settings.replace("$PATH", "/usr/bin:/bin")))
    argv = [CHROOT, f"--userspec={user}", str(root), "python", "-v", "-m", "prom_probe", "version"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = re.findall(r"code object from '?(\S+\.py)\b", done.stderr)
    assert not compiled, f"compiled at the start: {compiled[:5]}"
    return done.stdout


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "debootstrap").absolute()
    make_root(root)
    replay(root)
    print(start(root), end="")


if __name__ == "__main__":
    main()
