"""The store's folder: its lock, its format, and the files in it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from typing import NamedTuple

from prom_probe.tsdb.disk import api_file, file_ops
from prom_probe.tsdb.outcome import StorageError, UnusableStoreError

FORMAT = b"prom_probe store 1\n"
_ANY_FORMAT = re.compile(rb"prom_probe store [0-9]+\n")

_LOG = re.compile(r"([0-9a-f]{16})\.log")
_BLOCK = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.block")

# What is kept beside the samples: processes and events, and what the run was.
HISTORY, RUN = "history", "run.json"

# What a folder may contain when it becomes a store: what file systems have in their root, and our own first files.
_IGNORED = {"lost+found", "lock", "format.tmp", api_file.NAME}

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
# With these no disk is to blame, but the path: there is no such directory, or it is not ours.
_WRONG_PATH = _REASONS.keys() - {errno.ENOSPC, errno.EDQUOT}

# What a file system answers that cannot lock a folder.
_NO_FOLDER_LOCKS = {errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    plain = isinstance(error, DeletedError | file_ops.NotAFileError)
    return str(error) if plain else f"{type(error).__name__}: {error}"


class FolderListing(NamedTuple):
    """The files of a store, and whatever else is in their places, in order of their names; `segments` by number."""

    segments: dict[int, str]
    blocks: list[tuple[int, int, str]]  # first head, last head, name
    unfinished: list[str]


class DeletedError(OSError):
    """The store's folder, or a file that is being written, was deleted; the text says which."""


class Folder:
    """A store's folder, open and locked until `close`. Its files are found by its descriptor, not by its path."""

    def __init__(self, path: str, fd: int, lock: int) -> None:
        self.path = path
        self.fd = fd
        self._lock = lock

    def close(self) -> None:
        """Release the lock; may be called again."""
        for fd in (self._lock, self.fd):
            if fd >= 0:
                os.close(fd)
        self._lock = self.fd = -1

    def maybe_moved(self) -> str | None:
        """Where the folder is, if `path` does not lead to it any more; None if it does.

        Raises DeletedError if it does not exist any more.
        """
        ours = os.fstat(self.fd)
        if not ours.st_nlink:
            raise DeletedError("the directory was deleted")
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if there is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            return None
        try:
            return os.readlink(f"/proc/self/fd/{self.fd}")
        except OSError:
            return "an unknown place"  # without procfs

    @staticmethod
    def segment_name(number: int) -> str:
        """The name of a segment's file."""
        return f"{number:016x}.log"

    def list(self) -> FolderListing:
        """The files as of now. Raises StorageError if the folder cannot be read."""
        listing = FolderListing({}, [], [])
        try:
            with os.scandir(self.fd) as entries:
                names = sorted((entry.name, entry.is_file(follow_symlinks=False)) for entry in entries)
        except OSError as error:
            raise _unusable(self.path, error) from None
        for name, is_file in names:
            if found := _LOG.fullmatch(name):
                listing.segments[int(found[1], 16)] = name
            elif found := _BLOCK.fullmatch(name):
                listing.blocks.append((int(found[1], 16), int(found[2], 16), name))
            elif is_file and name.endswith(".tmp"):
                listing.unfinished.append(name)
        return listing


def open_to_write(path: str) -> Folder:
    """Open the folder for this process alone, creating it if it is missing. Raises StorageError with the reason."""
    try:
        file_ops.make_folder(path)
        fd = file_ops.open_folder(path)
    except OSError as error:
        raise _refusal(path, error) from None
    lock = -1
    try:
        lock = file_ops.open_lock(fd, "lock")
        _acquire(fd, lock, fcntl.LOCK_EX, path)
        _check_format(fd, path, make=True)
    except (OSError, StorageError) as error:
        _close(lock, fd)
        raise _unusable(path, error) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except OSError:
        pass  # the PID is only there for error messages; the lock itself is held
    return Folder(path, fd, lock)


def open_to_repair(path: str) -> Folder:
    """Open a store's folder for this process alone, even if its file `format` is damaged.

    Raises StorageError with the reason, and for a folder that is no store of our version.
    """
    fd = lock = -1
    try:
        fd = file_ops.open_folder(path)
        format_damage(fd, path)
        lock = file_ops.open_lock(fd, "lock")
        _acquire(fd, lock, fcntl.LOCK_EX, path)
    except (OSError, StorageError) as error:
        _close(lock, fd)
        raise _refusal(path, error) from None
    return Folder(path, fd, lock)


def open_to_remove(path: str) -> Folder:
    """Open a folder for this process alone, whatever is in it. Raises StorageError with the reason."""
    try:
        return _open_existing(path, fcntl.LOCK_EX)
    except OSError as error:
        raise _refusal(path, error) from None


def is_written(path: str) -> bool:
    """Whether a process has the folder open for writing."""
    if not os.path.exists(os.path.join(path, "lock")):
        return False  # without a look at the folder's lock, which a process that just begins may be about to take
    try:
        _open_existing(path, fcntl.LOCK_SH).close()
    except StorageError:
        return True
    except OSError:
        pass
    return False


def _open_existing(path: str, how: int) -> Folder:
    """Open and lock a folder. Raises StorageError if another process holds it, OSError if it cannot be opened."""
    fd = lock = -1
    try:
        fd = file_ops.open_folder(path)
        try:
            lock = file_ops.open_to_read(fd, "lock")
        except FileNotFoundError:
            pass  # the folder itself is locked too
        _acquire(fd, lock, how, path)
    except (OSError, StorageError):
        _close(lock, fd)
        raise
    return Folder(path, fd, lock)


def open_to_read(path: str, *, damaged_format: bool = False) -> Folder:
    """Open the folder for reading, while no process writes to it. Raises StorageError with the reason.

    `damaged_format`: even if its file `format` is damaged.
    """
    fd = -1
    try:
        fd = file_ops.open_folder(path)
        if damaged_format:
            format_damage(fd, path)
        else:
            _check_format(fd, path, make=False)
        return _open_existing(path, fcntl.LOCK_SH)
    except (OSError, StorageError) as error:
        if isinstance(error, FileNotFoundError):
            raise StorageError(f"{path}: there is no store") from None
        raise _refusal(path, error) from None
    finally:
        _close(fd)


def check(path: str) -> None:
    """Create the folder if it is missing. Raises StorageError if `open_to_write` would."""
    open_to_write(path).close()


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _acquire(fd: int, lock: int, how: int, path: str) -> None:
    """Lock the folder and the file `lock` in it, which has the holder's PID.

    The file may be deleted under its holder, so it is the folder's lock that counts; but not every network file system
    can lock a folder.
    """
    try:
        for one in (fd, lock) if lock >= 0 else (fd,):
            try:
                fcntl.flock(one, how | fcntl.LOCK_NB)
            except OSError as error:
                if one == lock or error.errno not in _NO_FOLDER_LOCKS:
                    raise
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() if lock >= 0 else ""
        owner = f"process {holder}" if holder.isdigit() else "another process"
        hint = "; ask its API instead" if how == fcntl.LOCK_SH else ""
        raise StorageError(f"{path}: in use by {owner}{hint}") from None


def _check_format(folder: int, path: str, *, make: bool) -> None:
    """Raise StorageError unless this is a store of our version or, with `make`, an empty folder, which becomes one."""
    try:
        fd = file_ops.open_to_read(folder, "format")
    except FileNotFoundError:
        _begin(folder, path, make=make)
        return
    try:
        found = os.read(fd, 64)
    finally:
        os.close(fd)
    if found != FORMAT:
        raise _other_version(path, found)


def _other_version(path: str, found: bytes) -> UnusableStoreError:
    text = found.split(b"\n")[0].decode("ascii", "replace")
    return UnusableStoreError(f"{path}: a store of another version: {text!r} instead of {FORMAT.decode().strip()!r}")


def _begin(folder: int, path: str, *, make: bool) -> None:
    """With `make`, turn an empty folder into a store. Raises StorageError for any other folder."""
    others = sorted(set(os.listdir(folder)) - _IGNORED)
    if others:
        raise StorageError(f"{path}: not a prom_probe store: it has {others[0]!r} and no file 'format'")
    if not make:
        raise StorageError(f"{path}: there is no store")
    write_format(folder)


def format_damage(folder: int, path: str) -> str | None:
    """What is wrong with the file `format` of a folder that has a store's other files; None if it is intact.

    Raises StorageError if this is no store, or one of another version.
    """
    try:
        fd = file_ops.open_to_read(folder, "format")
    except FileNotFoundError:
        if any(_LOG.fullmatch(name) or _BLOCK.fullmatch(name) for name in os.listdir(folder)):
            return "it is missing"
        raise StorageError(f"{path}: there is no store") from None
    try:
        found = os.read(fd, 64)
    finally:
        os.close(fd)
    if _ANY_FORMAT.fullmatch(found) and found != FORMAT:
        raise _other_version(path, found)
    return None if found == FORMAT else f"it says {found!r} instead of {FORMAT!r}"


def write_format(folder: int) -> None:
    """Write the file that makes the folder a store. Raises OSError."""
    fd = file_ops.create(folder, "format.tmp")
    try:
        file_ops.write(fd, [FORMAT])
        file_ops.sync(fd)
    finally:
        os.close(fd)
    file_ops.rename(folder, "format.tmp", "format")
    file_ops.sync_folder(folder)


def restore_format(folder: int) -> None:
    """Write the file `format` of a store's folder anew if somebody deleted it. Raises OSError."""
    try:
        os.close(file_ops.open_to_read(folder, "format"))
    except FileNotFoundError:
        write_format(folder)


def _refusal(path: str, error: OSError | StorageError) -> StorageError:
    """The error for a path that could not be opened."""
    if isinstance(error, OSError) and error.errno in _WRONG_PATH:
        return StorageError(f"{path}: {_REASONS[error.errno]}")
    return _unusable(path, error)


def _unusable(path: str, error: OSError | StorageError) -> StorageError:
    """The error for a directory that was opened, or for its disk."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, file_ops.NotAFileError):
        path = os.path.join(path, error.name)
    return UnusableStoreError(f"{path}: {_REASONS.get(error.errno or 0) or reason(error)}")
