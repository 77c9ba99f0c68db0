"""The thread that writes: what it is handed, one after the other, so that nobody else waits for the disk."""

from __future__ import annotations

import mmap
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Thread
from typing import Protocol

from prom_probe.tsdb.block import Block
from prom_probe.tsdb.disk import blockfile, file_ops, wal
from prom_probe.tsdb.disk.blockfile import HeadRange, NamedSeries
from prom_probe.tsdb.disk.folder import Folder
from prom_probe.tsdb.disk.wal import Entry

# Before 3.13 each mapping holds a descriptor, of which a process has perhaps 1,024.
_MOST_MAPPED = 256

# So much of a long segment is put together before it is written.
_CHUNK_BYTES = 1 << 18


class WriteJob(Protocol):
    """Something to write. `size` are the bytes of memory that it keeps from being freed."""

    size: int

    def do(self, writer: FileWriter) -> None:
        """In the writer's thread. An OSError says what failed; what was begun is undone as far as possible."""


class FileWriter:
    """Does jobs in the order in which they are submitted, in a thread that begins with the first.

    `done` has each finished job with its error, for the thread that submits. `log_broken`: the newest segment lacks
    something that it was to have, and is not written to any more; only a new one ends that.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.done: deque[tuple[WriteJob, Exception | None]] = deque()
        self.log_broken = False
        self.segment_fd: int | None = None
        self._jobs: SimpleQueue[WriteJob | None] = SimpleQueue()
        self._submitted = 0  # jobs and their bytes: counted by the one who submits,
        self._submitted_bytes = 0
        self._finished = 0  # and by the thread
        self._finished_bytes = 0
        self._thread: Thread | None = None

    @property
    def idle(self) -> bool:
        """Whether everything submitted is done."""
        return self._finished == self._submitted

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the jobs that are not done."""
        return self._submitted_bytes - self._finished_bytes

    def submit(self, job: WriteJob) -> None:
        self._submitted += 1
        self._submitted_bytes += job.size
        self._jobs.put(job)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="store-writer", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until everything submitted is done; False if that took too long."""
        if self.idle:
            return True
        marker = _Marker()
        self.submit(marker)
        return marker.reached.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """End the thread once everything is done; False if that took too long, and the thread goes on."""
        if self._thread is None:
            return True
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            failed: Exception | None = None
            try:
                job.do(self)
            except Exception as error:  # the one place where it ends up: it is reported by who reads `done`
                failed = error
            size = job.size
            reached = job.reached if isinstance(job, _Marker) else None
            self.done.append((job, failed))
            del job, failed  # `get` may wait for long, and they have memory
            self._finished_bytes += size
            self._finished += 1
            if reached is not None:
                reached.set()  # who waited for it finds the writer idle
        self.leave_segment()

    def leave_segment(self) -> None:
        fd, self.segment_fd = self.segment_fd, None
        if fd is not None:
            os.close(fd)


class _Marker:
    size = 0

    def __init__(self) -> None:
        self.reached = Event()

    def do(self, writer: FileWriter) -> None:
        pass


class AppendLog:
    """Records for the newest segment; they are on the disk when it is done. `written` is what they took."""

    def __init__(self, segment: int, entries: list[Entry], size: int) -> None:
        self.segment = segment
        self.size = size
        self.written = 0
        self._entries = entries

    def do(self, writer: FileWriter) -> None:
        entries, self._entries = self._entries, []
        if writer.segment_fd is None:
            return  # the log is broken, which has been said
        try:
            self.written = file_ops.write(writer.segment_fd, _chunks(entries))
            file_ops.sync(writer.segment_fd)
        except OSError:
            writer.log_broken = True
            writer.leave_segment()
            raise


class BeginSegment:
    """A new segment that begins with `entries`, which are made in the writer's thread."""

    size = 0

    def __init__(self, segment: int, entries: Callable[[], Iterator[Entry]]) -> None:
        self.segment = segment
        self.written = 0
        self._entries = entries

    def do(self, writer: FileWriter) -> None:
        writer.leave_segment()
        writer.log_broken = True
        path = writer.folder.join(Folder.segment_name(self.segment))
        fd = file_ops.create(path)
        try:
            self.written = file_ops.write(fd, [wal.MAGIC])
            self.written += file_ops.write(fd, _chunks(self._entries()))
            file_ops.sync(fd)
            file_ops.sync_folder(writer.folder.path)
        except BaseException:
            os.close(fd)
            _discard(path)
            raise
        writer.segment_fd = fd
        writer.log_broken = False


class WriteBlock:
    """A block into a file of its own; its memory is then the file's.

    `series` is asked in the writer's thread. `mapped`: how many files are mapped already.
    """

    size = 0  # the block is the store's, and stays

    def __init__(
        self, block: Block, heads: HeadRange, series: Callable[[Sequence[int]], Sequence[NamedSeries]], mapped: int
    ) -> None:
        self.block = block
        self._mapped = mapped
        self.heads = heads
        self.name = blockfile.file_name(heads)
        self.written = 0
        self.cancelled = False
        self._series = series

    def do(self, writer: FileWriter) -> None:
        if self.cancelled:
            return
        parts = blockfile.encode(self.block, self.heads, self._series(self.block.refs))
        path = writer.folder.join(self.name)
        try:
            fd = file_ops.create(path + ".tmp")
            try:
                written = file_ops.write(fd, parts)
                file_ops.sync(fd)
            finally:
                os.close(fd)
            file_ops.rename(path + ".tmp", path)
            file_ops.sync_folder(writer.folder.path)
        except OSError:
            _discard(path + ".tmp")
            _discard(path)
            raise
        self.written = written
        try:
            data = map_file(path, self._mapped)
        except OSError:
            return  # it stays in memory too
        self.block.rest_on(*blockfile.lay(data))


class DeleteFiles:
    """Files that are not needed any more. Those of `segments` only while the log is whole, else it is `skipped`."""

    size = 0

    def __init__(self, names: Sequence[str], segments: Sequence[int] = ()) -> None:
        self.names = names
        self.segments = segments
        self.skipped = False

    def do(self, writer: FileWriter) -> None:
        self.skipped = bool(self.segments) and writer.log_broken
        if not self.skipped:
            for name in self.names:
                file_ops.remove(writer.folder.join(name))


def map_file(path: str, mapped: int) -> memoryview:
    """A file's bytes, mapped where possible, with `mapped` others mapped already. Raises OSError."""
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            if sys.version_info >= (3, 13):
                return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ, trackfd=False))
            if mapped < _MOST_MAPPED:
                return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # no descriptors, no address space, an empty file
            pass
        return memoryview(stream.readall())


def _discard(path: str) -> None:
    try:
        file_ops.remove(path)
    except OSError:
        pass  # it is in the way of nothing


def _chunks(entries: Iterable[Entry]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for record in entries:
        chunk += (wal.frame(record), record[1])
        size += wal.framed_size(record)
        if size >= _CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    yield b"".join(chunk)
