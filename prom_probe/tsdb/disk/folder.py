"""The store's folder: its lock, its format, and the files in it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from typing import NamedTuple

from prom_probe.tsdb.disk import file_ops
from prom_probe.tsdb.outcome import StorageError

FORMAT = b"prom_probe store 1\n"

_LOG = re.compile(r"([0-9a-f]{16})\.log")
_BLOCK = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.block")

# What a folder may contain when it becomes a store: what file systems have in their root, and our own first files.
_IGNORED = {"lost+found", "lock", "format.tmp"}

_REASONS = {
    errno.ENOENT: "its parent does not exist",
    errno.ENOTDIR: "it is not a directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "disk quota exceeded",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "too many symbolic links",
}


def reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {error}"


class FolderListing(NamedTuple):
    """The files of a store, in order of their names; `segments` by number."""

    segments: dict[int, str]
    blocks: list[tuple[int, int, str]]  # first head, last head, name
    unfinished: list[str]


class Folder:
    """A store's folder, with its lock held until `close`."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Release the lock; may be called again."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def join(self, name: str) -> str:
        return os.path.join(self.path, name)

    @staticmethod
    def segment_name(number: int) -> str:
        """The name of a segment's file."""
        return f"{number:016x}.log"

    def list(self) -> FolderListing:
        """The files as of now. Raises StorageError if the folder cannot be read."""
        listing = FolderListing({}, [], [])
        try:
            with os.scandir(self.path) as entries:
                names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        except OSError as error:
            raise _refusal(self.path, error) from None
        for name in names:
            if found := _LOG.fullmatch(name):
                listing.segments[int(found[1], 16)] = name
            elif found := _BLOCK.fullmatch(name):
                listing.blocks.append((int(found[1], 16), int(found[2], 16), name))
            elif name.endswith(".tmp"):
                listing.unfinished.append(name)
        return listing


def open_to_write(path: str) -> Folder:
    """Open the folder for this process alone, creating it if it is missing. Raises StorageError with the reason."""
    try:
        file_ops.make_folder(path)
        lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _refusal(path, error) from None
    try:
        _acquire(lock, fcntl.LOCK_EX, path)
        _check_format(path, make=True)
    except StorageError:
        os.close(lock)
        raise
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except OSError:
        pass  # the PID is only there for error messages; the lock itself is held
    return Folder(path, lock)


def open_to_read(path: str) -> Folder:
    """Open the folder for reading, while no process writes to it. Raises StorageError with the reason."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise StorageError(f"{path}: it is not a directory")
        _check_format(path, make=False)
        lock = os.open(os.path.join(path, "lock"), os.O_RDONLY)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise StorageError(f"{path}: there is no store") from None
        raise _refusal(path, error) from None
    try:
        _acquire(lock, fcntl.LOCK_SH, path)
    except StorageError:
        os.close(lock)
        raise
    return Folder(path, lock)


def check(path: str) -> None:
    """Create the folder if it is missing. Raises StorageError if `open_to_write` would."""
    open_to_write(path).close()


def _acquire(lock: int, how: int, path: str) -> None:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        owner = f"process {holder}" if holder.isdigit() else "another process"
        hint = "; ask its API instead" if how == fcntl.LOCK_SH else ""
        raise StorageError(f"{path}: in use by {owner}{hint}") from None
    except OSError as error:
        raise _refusal(path, error) from None


def _check_format(path: str, *, make: bool) -> None:
    """Raise StorageError unless this is a store of our version or, with `make`, an empty folder, which becomes one."""
    name = os.path.join(path, "format")
    try:
        with open(name, "rb") as stream:
            found = stream.read(64)
    except FileNotFoundError:
        _begin(path, name, make=make)
        return
    except OSError as error:
        raise _refusal(path, error) from None
    if found != FORMAT:
        text = found.split(b"\n")[0].decode("ascii", "replace")
        raise StorageError(f"{path}: a store of another version: {text!r} instead of {FORMAT.decode().strip()!r}")


def _begin(path: str, name: str, *, make: bool) -> None:
    """With `make`, turn an empty folder into a store. Raises StorageError for any other folder."""
    try:
        others = sorted(set(os.listdir(path)) - _IGNORED)
        if others:
            raise StorageError(f"{path}: not a prom_probe store: it has {others[0]!r} and no file 'format'")
        if not make:
            raise StorageError(f"{path}: there is no store")
        fd = file_ops.create(name + ".tmp")
        try:
            file_ops.write(fd, [FORMAT])
            file_ops.sync(fd)
        finally:
            os.close(fd)
        file_ops.rename(name + ".tmp", name)
        file_ops.sync_folder(path)
    except OSError as error:
        raise _refusal(path, error) from None


def _refusal(path: str, error: OSError) -> StorageError:
    return StorageError(f"{path}: {_REASONS.get(error.errno or 0) or reason(error)}")
