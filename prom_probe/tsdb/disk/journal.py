"""The journal: it records every append, block and drop on the disk, and never makes the store wait or fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from prom_probe.tsdb.block import Block
from prom_probe.tsdb.disk import wal
from prom_probe.tsdb.disk.blockfile import HeadRange
from prom_probe.tsdb.disk.checkpoint import SeriesRegister, make_checkpoint
from prom_probe.tsdb.disk.file_writer import AppendLog, BeginSegment, DeleteFiles, FileWriter, WriteBlock, WriteJob
from prom_probe.tsdb.disk.folder import DeletedError, Folder, reason
from prom_probe.tsdb.disk.piece_files import PieceFiles
from prom_probe.tsdb.disk.record_file import SideFileJob
from prom_probe.tsdb.disk.wal_recorder import WalRecorder

if TYPE_CHECKING:
    from prom_probe.tsdb.appended import AppendedHead
    from prom_probe.tsdb.column_map import ColumnMap
    from prom_probe.tsdb.disk.recovery import RecoveredStore
    from prom_probe.tsdb.index import IndexedSeries
    from prom_probe.tsdb.row_head import RowHead

    AnyPiece: TypeAlias = RowHead | AppendedHead | Block

_SEGMENT_BYTES = 4 << 20
_HAND_OVER_BYTES = 1 << 20  # more than this does not wait for the next flush
_MOST_WAITING_BYTES = 16 << 20
_RETRY_S = 5.0
_CLOSE_S = 10.0

_ALL = 1 << 63  # above the number of any segment


class DiskStats(NamedTuple):
    """The part of `StoreStats` that is about the disk."""

    persistent: bool
    disk_errors: int
    damaged: int
    mapped_bytes: int
    wal_bytes: int
    block_file_bytes: int


class Journal:
    """All methods are for the store's thread; only `wait` and `close` wait for the disk.

    After a fault nothing is recorded until it is time to try again; then a new segment begins with everything that is
    in memory alone.
    """

    def __init__(
        self,
        folder: Folder,
        found: RecoveredStore,
        report: Callable[[str, str], None],
        members: Callable[[], Sequence[IndexedSeries]],
    ) -> None:
        """`members` returns the series by ascending ref, a list that only grows; `report` takes (level, text)."""
        self._folder = folder
        self._members = members
        self._report = report
        self._writer = FileWriter(folder)
        self._numbers = count(found.next_number)
        self._recorder = WalRecorder(self._numbers)
        self._recording = True
        self._piece_files: dict[AnyPiece, PieceFiles] = {piece: files for files, piece in found.pieces}
        self._dropped = found.dropped
        self._segments = found.segments
        self._block_files = found.block_files
        self._segment = found.next_segment  # the newest one
        self._began = False  # whether it exists: the first record creates it
        self._may_trim = True
        self._leaving: set[int] = set()  # segments that are being deleted
        self._undeleted: list[DeleteFiles] = []
        self._errors = 0
        self._faulty = False
        self._moved_to: str | None = None
        self._retry_s = 0.0
        self._damaged = found.damaged
        self._delete(found.superseded)

    def row(self, collector: str, head: RowHead, mapping: ColumnMap, t_ms: int, payload: bytes, lived_ms: int) -> None:
        """A row was appended to `head`."""
        files = self._files_of(collector, head)
        if self._recording:
            self._recorder.row(files.heads, mapping, t_ms, payload, lived_ms)
            if self._recorder.size >= _HAND_OVER_BYTES:
                self._hand_over()

    def sample(self, head: AppendedHead, series: IndexedSeries, t_ms: int, value: float, lived_ms: int) -> None:
        """A sample was appended to `head`."""
        files = self._files_of(None, head)
        if self._recording:
            self._recorder.sample(files.heads, series, t_ms, value, lived_ms)
            if self._recorder.size >= _HAND_OVER_BYTES:
                self._hand_over()

    def replaced(self, old: Sequence[AnyPiece], new: Block) -> None:
        """Neighbouring blocks, or a closed head, became one block."""
        parts = [self._piece_files.pop(piece) for piece in old]
        for one in parts:
            one.cancel()
        files = self._piece_files[new] = PieceFiles.merged(parts)
        if not self._faulty:
            self._write(new, files)

    def dropped(self, piece: AnyPiece) -> None:
        """A stream's oldest piece was dropped."""
        files = self._piece_files.pop(piece)
        files.cancel()
        self._delete(files.names())
        self._dropped[files.heads.stream] = files.heads.last
        self._may_trim = True
        if self._recording:
            self._recorder.dropped(files.heads)

    def keep_beside(self, name: str, data: bytes, *, append: bool) -> SideFileJob:
        """Write a file beside the samples, or append to it; whoever asks looks at the job, and tries again."""
        job = SideFileJob(name, data, append=append)
        self._writer.submit(job)
        return job

    def flush(self) -> None:
        """Hand what was recorded to the writing thread, handle what it has done, and retry what failed."""
        idle = self._writer.idle
        self._settle()
        if self._faulty and idle:
            if self._whole():
                self._faulty = False
                self._report("info", f"storage: {self._folder.path}: writing again, what was kept in memory included")
            elif monotonic() >= self._retry_s:
                self._retry()
        if self._recording:
            self._hand_over()
            if self._segments.get(self._segment, 0) >= _SEGMENT_BYTES:
                self._begin_segment(self._segment)
                self._recorder.begin_segment()
        self._trim()

    def wait(self, timeout_s: float = _CLOSE_S) -> bool:
        """Flush, and wait until that and its consequences are done; False if it took too long."""
        self.flush()
        deadline = monotonic() + timeout_s
        done = self._writer.wait(timeout_s)
        self._settle()
        while done and not self._writer.idle:  # files that a written block replaces are deleted
            done = self._writer.wait(deadline - monotonic())
            self._settle()
        return done

    def close(self) -> None:
        """Write what is left, retrying what failed, and release the folder."""
        self.wait()
        if self._faulty:
            self._retry_s = 0.0
            self.wait()
            self.flush()
        if self._writer.close(_CLOSE_S):
            self._folder.close()
        else:
            self._report(
                "error", f"storage: {self._folder.path}: the disk does not answer; the newest samples are lost"
            )

    def stats(self) -> DiskStats:
        blocks = [piece for piece in self._piece_files if isinstance(piece, Block) and piece.in_file]
        return DiskStats(
            persistent=not self._faulty and self._moved_to is None,
            disk_errors=self._errors,
            damaged=self._damaged,
            wal_bytes=sum(self._segments.values()),
            block_file_bytes=sum(self._block_files.values()),
            mapped_bytes=sum(len(block.data) + 8 * len(block.refs) for block in blocks),
        )

    def _files_of(self, stream: str | None, head: AnyPiece) -> PieceFiles:
        files = self._piece_files.get(head)
        if files is None:
            number = next(self._numbers)
            files = self._piece_files[head] = PieceFiles(HeadRange(stream, number, number), self._segment)
        return files

    def _hand_over(self) -> None:
        """Hand over what was recorded. If the disk does not keep up, stop recording until it does."""
        if self._writer.waiting_bytes + self._recorder.size > _MOST_WAITING_BYTES:
            self._stop_recording()
            self._errors += 1
            self._fault("the disk does not keep up")
            return
        size = self._recorder.size
        entries = self._recorder.take()
        if entries:
            if not self._began:
                self._begin_segment(0)
            self._writer.submit(AppendLog(self._segment, entries, size))

    def _begin_segment(self, before: int) -> None:
        """Begin a new segment, with a checkpoint of each head that began in a segment before `before`."""
        self._segment += self._began
        self._began = True
        register = SeriesRegister(self._members())
        dropped = [[wal.entry(wal.DroppedRecord(stream, number)) for stream, number in self._dropped.items()]]
        checkpoints = []
        for piece, files in self._piece_files.items():
            if not isinstance(piece, Block) and files.segment is not None and files.segment < before:
                checkpoints.append(make_checkpoint(files.heads, piece, register, self._numbers))
                files.segment = self._segment
        self._writer.submit(
            BeginSegment(self._segment, lambda: chain(*dropped, chain.from_iterable(one() for one in checkpoints)))
        )

    def _write(self, block: Block, files: PieceFiles) -> None:
        register = SeriesRegister(self._members())
        files.job = WriteBlock(block, files.heads, register.named, len(self._block_files))
        self._writer.submit(files.job)

    def _delete(self, names: Sequence[str]) -> None:
        if names:
            self._writer.submit(DeleteFiles(names))

    def _trim(self) -> None:
        """Delete the segments that nothing needs any more."""
        if not self._may_trim or self._faulty:
            return
        self._may_trim = False
        needed = min((files.segment for files in self._piece_files.values() if files.segment is not None), default=_ALL)
        needed = min(needed, self._segment)
        numbers = sorted(number for number in self._segments if number < needed and number not in self._leaving)
        if numbers:
            self._leaving.update(numbers)
            self._writer.submit(DeleteFiles([self._folder.segment_name(number) for number in numbers], numbers))

    def _settle(self) -> None:
        """Handle what the writing thread has done."""
        done = self._writer.done
        while done:
            job, error = done.popleft()
            if error is not None:
                self._errors += 1
                self._fault(f"cannot write: {reason(error)}")
                if isinstance(error, DeletedError):
                    self._write_all_again()
            self._settle_one(job, error)
        self._follow()

    def _write_all_again(self) -> None:
        """Somebody deleted files of ours: take none of them for granted."""
        for piece, files in self._piece_files.items():
            if isinstance(piece, Block) and files.name is not None:
                self._block_files.pop(files.name, None)
                files.name = None

    def _follow(self) -> None:
        """Report where the folder is, if that has changed."""
        moved_to = self._writer.moved_to
        if moved_to == self._moved_to:
            return
        self._moved_to = moved_to
        path = self._folder.path
        if moved_to is None:
            self._report("info", f"storage: {path}: the directory is back")
        else:
            text = f"the path does not lead to this run's directory any more; going on in {moved_to}"
            self._report("error", f"storage: {path}: {text}")

    def _settle_one(self, job: WriteJob, error: Exception | None) -> None:
        if isinstance(job, AppendLog | BeginSegment):
            if error is not None:
                self._stop_recording()
            else:
                self._segments[job.segment] = self._segments.get(job.segment, 0) + job.written
                self._may_trim = True
        elif isinstance(job, WriteBlock):
            self._settle_block(job)
        elif isinstance(job, DeleteFiles):
            if error is not None:
                self._undeleted.append(job)
            else:
                self._settle_deletion(job)

    def _settle_block(self, job: WriteBlock) -> None:
        files = self._piece_files.get(job.block)
        wanted = files is not None and files.job is job
        if files is not None and wanted:
            files.job = None
        if not job.written:
            return
        self._block_files[job.name] = job.written
        if files is not None and wanted:
            self._delete(files.filed(job.name))
            self._may_trim = True
        else:  # it was merged or dropped meanwhile
            self._delete([job.name])

    def _settle_deletion(self, job: DeleteFiles) -> None:
        self._leaving.difference_update(job.segments)
        if job.skipped:
            self._may_trim = True
            return
        for name in job.names:
            self._block_files.pop(name, None)
        for number in job.segments:
            self._segments.pop(number, None)

    def _fault(self, text: str) -> None:
        if not self._faulty:
            self._faulty = True
            self._retry_s = monotonic() + _RETRY_S
            self._report("error", f"storage: {self._folder.path}: {text}; going on in memory, trying again")

    def _stop_recording(self) -> None:
        self._recording = False
        self._recorder.forget()

    def _unfiled(self) -> list[tuple[Block, PieceFiles]]:
        return [
            (piece, files) for piece, files in self._piece_files.items() if isinstance(piece, Block) and not files.name
        ]

    def _whole(self) -> bool:
        """Whether everything is on the disk, provided that the writing thread is idle."""
        return self._recording and not self._unfiled() and not self._undeleted

    def _retry(self) -> None:
        self._retry_s = monotonic() + _RETRY_S
        if not self._recording:
            self._recorder.begin_segment()
            self._begin_segment(_ALL)
            self._recording = True
        for block, files in self._unfiled():
            if files.job is None:
                self._write(block, files)
        undeleted, self._undeleted = self._undeleted, []
        for job in undeleted:
            self._writer.submit(job)
