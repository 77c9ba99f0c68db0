"""The thread that writes the store's files, job by job, so that no other thread waits for the disk."""

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
from prom_probe.tsdb.disk.folder import DeletedError, Folder, restore_format
from prom_probe.tsdb.disk.wal import Entry

# Before Python 3.13 each mapping keeps a descriptor open, and a process may have only 1,024 of them.
_MOST_MAPPED = 256

# Records are written in chunks of about this size.
_CHUNK_BYTES = 1 << 18


class WriteJob(Protocol):
    """Something to write. `size`: bytes of memory that cannot be freed before it is done."""

    size: int

    def do(self, writer: FileWriter) -> None:
        """Runs in the writer's thread. Raises OSError; then what was begun is undone as far as possible."""


class FileWriter:
    """Does jobs in the order in which they are submitted, in a thread that starts with the first one.

    `done` has each finished job with its error, for the submitting thread. `log_broken`: the newest segment lacks
    records, so nothing more is written to it; only a new segment ends that. `moved_to`: where the folder is, if its
    path does not lead to it any more.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.done: deque[tuple[WriteJob, Exception | None]] = deque()
        self.log_broken = False
        self.moved_to: str | None = None
        self.segment_fd: int | None = None
        self._jobs: SimpleQueue[WriteJob | None] = SimpleQueue()
        self._submitted = 0  # jobs and their bytes: counted by the submitting thread,
        self._submitted_bytes = 0
        self._finished = 0  # and by the writing one
        self._finished_bytes = 0
        self._thread: Thread | None = None

    @property
    def idle(self) -> bool:
        """Whether everything submitted is done."""
        return self._finished == self._submitted

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the jobs that are not done yet."""
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
            except Exception as error:  # the submitting thread finds it in `done`, and reports it
                failed = error
            size = job.size
            reached = job.reached if isinstance(job, _Marker) else None
            self.done.append((job, failed))
            del job, failed  # `get` may wait for long; do not keep their memory
            self._finished_bytes += size
            self._finished += 1
            if reached is not None:
                reached.set()  # after the counts, so that the waiting thread finds the writer idle
        self.leave_segment()

    def check_folder(self) -> None:
        """Look where the folder is. Raises DeletedError if it, or the segment in it, does not exist any more."""
        self.moved_to = self.folder.maybe_moved()
        if self.segment_fd is not None and not os.fstat(self.segment_fd).st_nlink:
            raise DeletedError("the newest segment of the log was deleted")

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
    """Appends records to the newest segment; when done, they are on the disk. `written`: their size in the file."""

    def __init__(self, segment: int, entries: list[Entry], size: int) -> None:
        self.segment = segment
        self.size = size
        self.written = 0
        self._entries = entries

    def do(self, writer: FileWriter) -> None:
        entries, self._entries = self._entries, []
        if writer.segment_fd is None:
            return  # the log is broken, which has been reported
        try:
            writer.check_folder()
            self.written = file_ops.write(writer.segment_fd, _chunks(entries))
            file_ops.sync(writer.segment_fd)
        except OSError:
            writer.log_broken = True
            writer.leave_segment()
            raise


class BeginSegment:
    """Starts a new segment with `entries`, which is called in the writer's thread."""

    size = 0

    def __init__(self, segment: int, entries: Callable[[], Iterator[Entry]]) -> None:
        self.segment = segment
        self.written = 0
        self._entries = entries

    def do(self, writer: FileWriter) -> None:
        writer.leave_segment()
        writer.log_broken = True
        writer.check_folder()
        folder, name = writer.folder.fd, Folder.segment_name(self.segment)
        restore_format(folder)
        fd = file_ops.create(folder, name)
        try:
            self.written = file_ops.write(fd, [wal.MAGIC])
            self.written += file_ops.write(fd, _chunks(self._entries()))
            file_ops.sync(fd)
            file_ops.sync_folder(folder)
        except BaseException:
            os.close(fd)
            _discard(folder, name)
            raise
        writer.segment_fd = fd
        writer.log_broken = False


class WriteBlock:
    """Writes a block into a file of its own; then the block's bytes are those of the mapped file.

    `series` is called in the writer's thread. `mapped`: how many files are mapped already.
    """

    size = 0  # the block stays in the store anyway

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
        writer.check_folder()
        parts = blockfile.encode(self.block, self.heads, self._series(self.block.refs))
        folder, unfinished = writer.folder.fd, self.name + ".tmp"
        try:
            fd = file_ops.create(folder, unfinished)
            try:
                written = file_ops.write(fd, parts)
                file_ops.sync(fd)
            finally:
                os.close(fd)
            file_ops.rename(folder, unfinished, self.name)
            file_ops.sync_folder(folder)
        except OSError:
            _discard(folder, unfinished)
            _discard(folder, self.name)
            raise
        self.written = written
        try:
            data = map_file(folder, self.name, self._mapped)
        except OSError:
            return  # the block stays in memory
        self.block.move_to(*blockfile.locate(data))


class DeleteFiles:
    """Deletes files that are not needed any more. Segments stay while the log is broken: then it is `skipped`."""

    size = 0

    def __init__(self, names: Sequence[str], segments: Sequence[int] = ()) -> None:
        self.names = names
        self.segments = segments
        self.skipped = False

    def do(self, writer: FileWriter) -> None:
        self.skipped = bool(self.segments) and writer.log_broken
        if not self.skipped:
            for name in self.names:
                file_ops.remove(writer.folder.fd, name)


def map_file(folder: int, name: str, mapped: int) -> memoryview:
    """A file's bytes, mapped if possible; `mapped` other files are mapped already. Raises OSError."""
    with open(file_ops.open_to_read(folder, name), "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            if sys.version_info >= (3, 13):
                return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ, trackfd=False))
            if mapped < _MOST_MAPPED:
                return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # no descriptors, no address space, or an empty file
            pass
        return memoryview(stream.readall())


def _discard(folder: int, name: str) -> None:
    try:
        file_ops.remove(folder, name)
    except OSError:
        pass  # it does no harm


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
