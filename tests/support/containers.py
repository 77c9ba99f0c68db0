"""Real containers that share a PID namespace, as a pod's do: by runc, on this machine's own files, read-only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.programs import program
from tests.support.waiting import DEADLINE_S, wait_for

CGROUPFS = Path("/sys/fs/cgroup")


def runc() -> str:
    """The path of runc where containers can be made here; else the test is skipped, or fails under REQUIRE_REAL."""
    path = program("runc")
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    if not any(os.access(directory, os.W_OK) for directory in (CGROUPFS / "memory", CGROUPFS)):
        pytest.skip(f"{CGROUPFS} cannot be written")
    return path


def _tmpfs(destination: str, mode: str) -> dict[str, Any]:
    options = ["nosuid", f"mode={mode}"]  # device files are wanted in /dev
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}


_CAPABILITY_SETS = ("bounding", "effective", "permitted")
_KERNEL = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    _tmpfs("/dev", "755"),
    _tmpfs("/dev/shm", "1777"),
    _tmpfs("/tmp", "1777"),
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
]


def bind(source: str, destination: str, mode: str = "ro") -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": os.path.realpath(source), "options": ["rbind", mode]}


def _system() -> list[dict[str, Any]]:
    """This machine's programs, this Python, and the checkout, each where it is outside."""
    wanted = ["/usr", "/bin", "/lib", "/lib64", "/etc", os.path.realpath(sys.base_prefix), sys.prefix, str(ROOT)]
    shown: list[str] = []
    for path in sorted(filter(os.path.exists, wanted)):
        if not any(path == above or path.startswith(f"{above}/") for above in shown):
            shown.append(path)
    return [bind(path, path) for path in shown]


def _removed(cgroup: Path) -> bool:
    """Remove it and those below; OSError where one is busy."""
    for below in cgroup.iterdir():
        if below.is_dir():
            below.rmdir()
    cgroup.rmdir()
    return True


class Pod:
    """Containers below one directory and one cgroup, in the PID namespace of the first, which is called pause.

    All are without new privileges and, unless told otherwise, capabilities, on read-only roots; they have the machine's
    network.
    At the end nothing is left of them.
    """

    def __init__(self, directory: Path, *, cgroup_namespaces: bool = True) -> None:
        self._runc = [runc(), "--root", str(directory / "state")]
        self._directory = directory
        self._namespaces = ["ipc", "uts", "mount", *(["cgroup"] if cgroup_namespaces else [])]
        self.name = f"prom-probe-{uuid.uuid4().hex[:12]}"
        self.pids: dict[str, int] = {}  # of the main processes, as this machine numbers them

    def __enter__(self) -> Pod:
        try:
            # The name of a process is its file's, so sleep is pause here.
            self.start("pause", ["/pause", "1000"], 65535, 65535, [bind("/usr/bin/sleep", "/pause")])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for log in sorted(self._directory.glob("*.log")):
                print(f"{log.name}: {log.read_text(errors='replace')}")
        for name in ("sidecar", "app", "pause"):
            try:
                subprocess.run(
                    [*self._runc, "delete", "--force", self._id(name)], capture_output=True, timeout=DEADLINE_S
                )
            except subprocess.TimeoutExpired:
                continue  # what is left of it shows below, where its cgroup cannot be removed
        # runc gives up on a cgroup that is busy for longer than it waits; one that holds a process cannot be removed.
        for parent in {CGROUPFS / self.name, *CGROUPFS.glob(f"*/{self.name}")}:
            if parent.exists():
                wait_for(f"the end of {parent}", partial(_removed, parent))

    def _id(self, name: str) -> str:
        return f"{self.name}-{name}"

    def start(
        self,
        name: str,
        args: list[str],
        uid: int,
        gid: int,
        mounts: list[dict[str, Any]],
        *,
        env: dict[str, str] | None = None,
        memory: int = 0,
        capabilities: Sequence[str] = (),
    ) -> int:
        """Start a container; its main process, as this machine numbers it. `memory`: its limit in bytes."""
        bundle = self._make_bundle(name, args, (uid, gid), mounts, env or {}, memory, capabilities)
        pid_file = bundle / "pid"
        self._run(name, "run", "--detach", "--bundle", str(bundle), "--pid-file", str(pid_file), self._id(name))
        self.pids[name] = int(pid_file.read_text())
        return self.pids[name]

    def run(self, name: str, args: list[str], uid: int, gid: int, *capabilities: str) -> tuple[int, str]:
        """Run a container to its end: its exit status, and what it has written to standard output."""
        bundle = self._make_bundle(name, args, (uid, gid), [], {}, 0, capabilities)
        command = [*self._runc, "run", "--bundle", str(bundle), self._id(name)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S)
        (self._directory / f"{name}.log").write_bytes(done.stdout + done.stderr)
        shutil.rmtree(bundle)
        return done.returncode, done.stdout.decode()

    def _make_bundle(
        self,
        name: str,
        args: list[str],
        user: tuple[int, int],
        mounts: list[dict[str, Any]],
        env: dict[str, str],
        memory: int,
        capabilities: Sequence[str],
    ) -> Path:
        bundle = self._directory / name
        (bundle / "rootfs").mkdir(parents=True)
        pause = self.pids.get("pause")
        namespaces: list[dict[str, str]] = [{"type": kind} for kind in self._namespaces]
        namespaces.append({"type": "pid", "path": f"/proc/{pause}/ns/pid"} if pause else {"type": "pid"})
        variables = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **env}
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user[0], "gid": user[1]},
                "args": args,
                "env": [f"{key}={value}" for key, value in variables.items()],
                "cwd": "/",
                "capabilities": {kind: [f"CAP_{name}" for name in capabilities] for kind in _CAPABILITY_SETS},
                "noNewPrivileges": True,
            },
            "root": {"path": "rootfs", "readonly": True},
            "mounts": [*_KERNEL, *_system(), *mounts],
            "linux": {
                "cgroupsPath": f"/{self.name}/{name}",
                "resources": {"memory": {"limit": memory}} if memory else {},
                "namespaces": namespaces,
            },
        }
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def remove(self, name: str) -> None:
        """End a container and take it away, as a kubelet does before it makes the next.

        By SIGTERM if it lives: children of a killed process would stay as zombies, since this pause reaps none.
        """
        process = Path(f"/proc/{self.pids[name]}")
        if process.exists():
            os.kill(self.pids[name], signal.SIGTERM)
            wait_for(f"the end of {name}", lambda: not process.exists())
        self._run("remove", "delete", "--force", self._id(name))
        shutil.rmtree(self._directory / name)

    def execute(self, name: str, *args: str) -> None:
        """Start a further process in a container from outside, as `kubectl exec` does."""
        self._run(f"{name}-exec", "exec", "--detach", self._id(name), *args)

    def _run(self, log: str, *args: str) -> None:
        with (self._directory / f"{log}.log").open("ab") as stream:
            done = subprocess.run(
                [*self._runc, *args], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, timeout=DEADLINE_S
            )
        if done.returncode:
            raise AssertionError(f"runc {args[0]}: {self.log(log)}")

    def log(self, name: str) -> str:
        """What a container has written, on both channels."""
        return (self._directory / f"{name}.log").read_text(errors="replace")

    def cgroup(self, name: str, controller: str) -> Path:
        """The directory of a container's cgroup; this machine has version 1 where the controller has a hierarchy."""
        base = CGROUPFS / controller if (CGROUPFS / controller).exists() else CGROUPFS
        return base / self.name / name
