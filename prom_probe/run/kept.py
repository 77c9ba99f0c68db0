"""Kept runs: what the newest runs of a COMMAND have stored, in one folder of bounded size.

Each is a directory as `--storage.tsdb.path` has it, called after its start and COMMAND: 2026-11-30T14-03-07-train.py.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.run.command import display_name

# Of `--run.keep`, outside a container.
KEPT = 10

# Of all kept runs together.
MAX_BYTES = 500 << 20

_TIME = "%Y-%m-%dT%H-%M-%S"
_NAME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)-.+")
_MOST_CHARACTERS = 64
_INTERPRETER = re.compile(r"(python|pypy|node|ruby|perl|bash|sh|dash|zsh)[0-9.]*")


class KeptRun(NamedTuple):
    """A kept run: its directory, when it began (Unix seconds), the bytes of its files."""

    path: str
    started_s: float
    size: int

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        from prom_probe.tsdb.disk import folder

        return folder.is_written(self.path)


def runs_folder(environ: Mapping[str, str] = os.environ) -> str | None:
    """Where kept runs are: under the user's state folder. None if there is no such folder."""
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the XDG Base Directory Specification has such a value ignored
        state = os.path.expanduser("~/.local/state")
    return os.path.join(state, "prom-probe", "runs") if os.path.isabs(state) else None


def how_many(config: Config, root: str = "/") -> int:
    """How many runs to keep; `root` is where a container's marks are looked for."""
    from prom_probe.sources.container import in_container

    if config.run_keep is not None:
        return config.run_keep
    return 0 if in_container(config.path_procfs, root) else KEPT


def why_none(procfs: str = "/proc", root: str = "/") -> str:
    """What to say where no run is kept."""
    from prom_probe.sources.container import in_container

    here = ": in a container, run keeps one only with --run.keep=N" if in_container(procfs, root) else ""
    return f"no run is kept{here}"


def maybe_begin(config: Config, argv: Sequence[str], log: Log) -> str | None:
    """Make the directory of a run of COMMAND that begins, if it is to be kept.

    None, and a line in the log, where that is impossible.
    """
    if config.storage_tsdb_path is not None or not how_many(config):
        return None
    parent = runs_folder()
    if parent is None:
        log("warn", "this run is not kept: there is neither XDG_STATE_HOME nor a home directory")
        return None
    try:
        os.makedirs(parent, 0o700, exist_ok=True)
        return _make_unique(os.path.join(parent, f"{time.strftime(_TIME)}-{_program(argv)}"))
    except OSError as error:
        log("warn", f"this run is not kept: {parent}: {error.strerror}")
        return None


def maybe_begin_unkept(log: Log, environ: Mapping[str, str] = os.environ) -> str | None:
    """Make a directory for a run that is stored for its report alone.

    None, and a line in the log, where that is impossible.
    """
    parent = environ.get("TMPDIR") or "/tmp"
    try:
        return _make_unique(os.path.join(parent, f"prom-probe-{os.getpid()}"))
    except OSError as error:
        log("error", f"there will be no report: {parent}: {error.strerror}")
        return None


def has_store(path: str) -> bool:
    """Whether something could be stored in a run's directory: its disk may have been full."""
    return os.path.exists(os.path.join(path, "format"))


def _make_unique(path: str) -> str:
    for number in count(1):
        one = path if number == 1 else f"{path}-{number}"
        try:
            os.mkdir(one, 0o700)
        except FileExistsError:
            continue
        return one
    raise AssertionError("unreachable")


def _program(argv: Sequence[str]) -> str:
    """COMMAND's file name, or that of the script which its interpreter runs, as part of a file name."""
    name = display_name(argv)
    script = next((word for word in argv[1:] if not word.startswith("-")), "")
    if _INTERPRETER.fullmatch(name) and os.path.isfile(script):
        name = display_name([script])
    return re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII)[:_MOST_CHARACTERS]


def list_runs(parent: str | None) -> list[KeptRun]:
    """The kept runs in a folder, newest first. Raises OSError if the folder cannot be read."""
    try:
        names = os.listdir(parent) if parent is not None else []
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        path = os.path.join(parent or "", name)
        if _NAME.fullmatch(name) and os.path.isdir(path) and not os.path.islink(path):
            found.append(KeptRun(path, _started_s(name), _bytes(path)))
    return sorted(found, key=lambda run: (run.started_s, _made_ns(run.path), len(run.name), run.name), reverse=True)


def _made_ns(path: str) -> int:
    """When the first file of a run was written, which tells the order of runs that began in the same second."""
    try:
        return os.stat(os.path.join(path, "format")).st_mtime_ns
    except OSError:
        return 0


def _started_s(name: str) -> float:
    match = _NAME.fullmatch(name)
    assert match is not None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0  # not a name of ours


def _bytes(path: str) -> int:
    """The size of a directory's files, of which some may just be removed."""
    size = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    size += entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue
    except OSError:
        pass
    return size


def remove_excess(keep: int, own: str, *, max_bytes: int = MAX_BYTES) -> None:
    """Remove the oldest runs beside `own` until at most `keep` are left, of `max_bytes` in all.

    A run that still runs, or is being read, stays. Nothing is raised.
    """
    try:
        runs = list_runs(os.path.dirname(own))
    except OSError:
        return
    left, size = len(runs), sum(run.size for run in runs)
    for run in reversed(runs):
        if left <= keep and size <= max_bytes:
            return
        if run.path != own and remove(run.path):
            left -= 1
            size -= run.size


def remove(path: str) -> bool:
    """Remove a kept run; False if it still runs, is being read, or cannot be removed."""
    from prom_probe.tsdb.disk import folder
    from prom_probe.tsdb.outcome import StorageError

    try:
        locked = folder.open_to_remove(path)
    except StorageError:
        return False
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except OSError:
        return False
    finally:
        locked.close()
    return True


def remove_folders(parent: str) -> None:
    """Remove the folder of kept runs, and ours around it, as far as they are empty. Nothing is raised."""
    for path in (parent, os.path.dirname(parent)):
        try:
            os.rmdir(path)
        except OSError:
            return
