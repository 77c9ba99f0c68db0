"""Reading a store's folder: block files, then the log; what cannot be read is set aside and reported."""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from prom_probe.model.labels import Labels
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.disk import blockfile, evidence, file_ops, record_file
from prom_probe.tsdb.disk.blockfile import BlockFile, HeadRange
from prom_probe.tsdb.disk.damage_text import counted, describe, lost_bytes, lost_span, moment
from prom_probe.tsdb.disk.file_writer import map_file
from prom_probe.tsdb.disk.folder import HISTORY, RUN, Folder, reason
from prom_probe.tsdb.disk.piece_files import PieceFiles
from prom_probe.tsdb.disk.segment import SegmentReader, read_segment
from prom_probe.tsdb.disk.wal import FRAME, KINDS, MAGIC
from prom_probe.tsdb.disk.wal_replay import UnknownReferenceError, WalReplay
from prom_probe.tsdb.encoding.record import BlockError
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.outcome import StorageError

if TYPE_CHECKING:
    from prom_probe.tsdb.appended import AppendedHead
    from prom_probe.tsdb.column_map import ColumnMap
    from prom_probe.tsdb.row_head import RowHead

    AnyPiece: TypeAlias = RowHead | AppendedHead | Block

_READ_BYTES = 1 << 20

# Errors that are not the file's.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

# Files of which a line is reported.
MOST_SAID = 20


class Fault(NamedTuple):
    """Something in the file `name` that is not as it was written."""

    name: str
    offset: int
    text: str


@dataclass(slots=True)
class RecoveredStore:
    """What a store's folder holds: `pieces` in the order they were written, `series` by ascending ref."""

    pieces: list[tuple[PieceFiles, AnyPiece]] = field(default_factory=list)
    series: list[IndexedSeries] = field(default_factory=list)
    mappings: dict[str, ColumnMap] = field(default_factory=dict)  # by collector: the newest one in the log
    dropped: dict[str | None, int] = field(default_factory=dict)  # by stream: heads up to this number were dropped
    segments: dict[int, int] = field(default_factory=dict)  # number -> bytes
    block_files: dict[str, int] = field(default_factory=dict)  # name -> bytes
    superseded: list[str] = field(default_factory=list)  # block files to delete
    history: list[bytes] = field(default_factory=list)  # the records of the file `history`
    run: bytes = b""  # the file `run.json`
    faults: list[Fault] = field(default_factory=list)
    damaged: int = 0  # files set aside, damaged parts of segments, and intact records of no use without them
    unrepaired: int = 0
    lived_ms: int = 0
    next_ref: int = 1
    next_number: int = 1
    next_segment: int = 1

    def in_order(self) -> Iterator[tuple[str | None, AnyPiece]]:
        """Each piece with its stream."""
        for files, piece in self.pieces:
            yield files.heads.stream, piece

    def streams(self) -> dict[str | None, tuple[Any, ...]]:
        """The pieces of each stream."""
        out: dict[str | None, list[AnyPiece]] = {}
        for stream, piece in self.in_order():
            out.setdefault(stream, []).append(piece)
        return {stream: tuple(pieces) for stream, pieces in out.items()}


def recover(
    folder: Folder,
    max_series: int,
    report: Callable[[str, str], None],
    *,
    repair: bool,
    most_said: int = MOST_SAID,
) -> RecoveredStore:
    """Read the folder; with `repair`, cut off and set aside what cannot be read. At most `most_said` files are named.

    Restores at most `max_series` series, those seen last, but all exposed ones. Raises StorageError if the folder
    cannot be read.
    """
    return _Recovery(folder, max_series, report, repair, most_said).run()


class _Recovery:
    def __init__(
        self, folder: Folder, max_series: int, report: Callable[[str, str], None], repair: bool, most_said: int
    ) -> None:
        self._folder = folder
        self._max_series = max_series
        self._report = report
        self._repair = repair
        self._said = 0
        self._most_said = most_said
        self._found = RecoveredStore()
        self._series: dict[int, IndexedSeries] = {}
        self._highest_ref = 0
        self._highest_number = 0
        self._blocks: dict[str | None, list[tuple[HeadRange, str, Block]]] = {}  # by stream, the newest first

    def run(self) -> RecoveredStore:
        listing = self._folder.list()
        found = self._found
        for name in listing.unfinished:
            self._try(lambda name=name: file_ops.remove(self._folder.fd, name))  # type: ignore[misc]
        # The newest first; of two that end with the same head, the larger one, which was merged from the other.
        for first, last, name in sorted(listing.blocks, key=lambda block: (-block[1], block[0])):
            self._take_block(first, last, name)
        replay = WalReplay(self._series, self._held)
        for number, name in sorted(listing.segments.items()):
            found.next_segment = number + 1
            self._take_segment(replay, number, name)
        found.dropped, found.mappings = replay.dropped, replay.newest
        self._take_side_files()
        self._highest_number = max(self._highest_number, replay.highest)
        found.pieces = sorted([*self._block_pieces(), *self._heads(replay)], key=lambda item: item[0].heads.first)
        found.series = self._choose(found.pieces)
        found.next_ref = 1 + max(self._highest_ref, max(self._series, default=0))
        found.next_number = 1 + self._highest_number
        found.lived_ms = max((piece.seen for _, piece in found.pieces), default=0)
        return found

    def _take_block(self, first: int, last: int, name: str) -> None:
        try:
            content = self._read_block(name)
        except (BlockError, OSError) as error:
            self._set_aside(name, error)
            return
        heads, block, series = content
        if (heads.first, heads.last) != (first, last):
            self._set_aside(name, BlockError(f"it says that it holds heads {heads.first} to {heads.last}"))
            return
        others = self._blocks.setdefault(heads.stream, [])
        if others and others[-1][0].first <= last:
            if others[-1][0].first <= first:
                self._found.superseded.append(name)
            else:
                self._set_aside(name, BlockError(f"it has heads in common with {others[-1][1]}"))
            return
        others.append((heads, name, block))
        self._highest_number = max(self._highest_number, last)
        self._highest_ref = max(self._highest_ref, block.refs[-1] if len(block.refs) else 0)
        for ref, (labels, kept) in zip(block.refs, series, strict=True):
            known = self._series.get(ref)
            if known is None and labels and (kept or len(self._series) < self._max_series):
                known = self._series[ref] = IndexedSeries(labels, ref, block.seen)
            if known is not None:
                known.kept |= kept

    def _read_block(self, name: str) -> BlockFile:
        folder = self._folder.fd
        if not blockfile.checksum_matches(_read(folder, name)):
            raise BlockError("its checksum is wrong")
        data = map_file(folder, name, len(self._found.block_files))
        content = blockfile.parse(data)
        self._found.block_files[name] = len(data)
        return content

    def _held(self, stream: str | None, number: int) -> bool:
        """Whether a block file has this head."""
        blocks = self._blocks.get(stream, [])
        place = bisect_right(blocks, -number, key=lambda item: -item[0].last) - 1
        return place >= 0 and blocks[place][0].first <= number

    def _take_segment(self, replay: WalReplay, number: int, name: str) -> None:
        replay.segment = number
        try:
            data, unreadable = read_segment(self._folder.fd, name)
            reader = SegmentReader(data)
            kept, unusable = self._replay(replay, reader, name)
        except (ValueError, OSError) as error:
            self._set_aside(name, error)
            return
        damages = [damage for damage in reader.damages if not damage.torn]
        torn = next((damage for damage in reader.damages if damage.torn), None)
        for damage in reader.damages:
            self._fault(name, damage.start, f"{lost_bytes(damage)}, {lost_span(damage)}")
        size = torn.start if torn is not None else len(data)
        if damages or unusable:
            lost = [describe(damages)] if damages else []
            lost += [f"{counted(unusable, 'intact record')} of no use"] if unusable else []
            lost += [f"{unreadable} bytes could not be read: {os.strerror(errno.EIO)}"] if unreadable else []
            self._found.damaged += len(damages) + unusable
            if self._try(lambda: evidence.rewrite_segment(self._folder.fd, name, data, kept)):
                lost.append(f"the file as it was is kept as {name}{evidence.DAMAGED}")
                size = len(MAGIC) + sum(end - start for start, end in kept)
            self._say("error", name, "; ".join(lost))
        if torn is not None:
            self._say("warn", name, lost_bytes(torn))
            if not (damages or unusable):
                self._try(lambda: file_ops.truncate(self._folder.fd, name, size))
        self._found.segments[number] = size

    def _replay(self, replay: WalReplay, reader: SegmentReader, name: str) -> tuple[list[tuple[int, int]], int]:
        """Take a segment's records; returns the ranges of those that are of use, and how many are not.

        Introductions are there twice, and the first of the two may be lost: what refers to them waits for the second.
        """
        kept: list[tuple[int, int]] = []
        waiting: list[tuple[int, bytes]] = []
        unusable = 0
        for at, payload in reader:
            try:
                replay.take(payload)
            except UnknownReferenceError:
                waiting.append((at, payload))
                continue
            except ValueError as error:
                unusable += 1
                self._fault(name, at, f"an intact record of no use: {error}")
                continue
            kept.append((at, at + FRAME.size + len(payload)))
            if waiting and payload[0] in KINDS:
                waiting = _offer_again(replay, waiting, kept)
        for at, _ in waiting:
            self._fault(name, at, "an intact record of no use: what it refers to is lost")
        return _joined(kept), unusable + len(waiting)

    def _take_side_files(self) -> None:
        """Read what is kept beside the samples. Without it, they are as they were."""
        found, folder = self._found, self._folder.fd
        found.run, data = self._read_side_file(RUN), self._read_side_file(HISTORY)
        if found.run and not _is_json(found.run):
            found.run = b""
            self._set_aside(RUN, ValueError("it is not JSON"))
        if not data:
            return
        found.history, damages = record_file.parse_records(data)
        for damage in damages:
            text = f"{damage.end - damage.start} bytes that are no record"
            self._fault(HISTORY, damage.start, text)
            self._say("warn" if damage.torn else "error", HISTORY, text)
        lost = sum(not damage.torn for damage in damages)
        if lost:
            self._found.damaged += lost
            self._try(lambda: evidence.rewrite(folder, HISTORY, data, [record_file.file_of(found.history)]))

    def _read_side_file(self, name: str) -> bytes:
        try:
            return record_file.read_file(self._folder.fd, name)
        except OSError as error:
            self._set_aside(name, error)
            return b""

    def _block_pieces(self) -> Iterator[tuple[PieceFiles, AnyPiece]]:
        for stream, blocks in self._blocks.items():
            for heads, name, block in blocks:
                if heads.last <= self._found.dropped.get(stream, 0):
                    self._found.superseded.append(name)
                else:
                    yield PieceFiles(heads, None, name), block

    def _heads(self, replay: WalReplay) -> Iterator[tuple[PieceFiles, AnyPiece]]:
        for found in replay.heads.values():
            piece = found.best()
            if piece is not None and found.heads.last > self._found.dropped.get(found.heads.stream, 0):
                piece.freeze()
                yield PieceFiles(found.heads, found.segment), piece

    def _choose(self, pieces: list[tuple[PieceFiles, AnyPiece]]) -> list[IndexedSeries]:
        """The series to restore, out of those that the pieces have; of several with equal labels, the newest."""
        used: set[int] = set()
        for _, piece in pieces:
            for ref in piece.live_refs():
                series = self._series.get(ref)
                if series is not None:
                    series.seen = max(series.seen, piece.seen)
                    used.add(ref)
        chosen: dict[Labels, IndexedSeries] = {}
        for ref in sorted(used):
            series = self._series[ref]
            chosen[series.labels] = series
        last = sorted(chosen.values(), key=lambda series: (series.kept, series.seen, series.ref), reverse=True)
        kept = sum(series.kept for series in last)
        return sorted(last[: max(kept, self._max_series)], key=attrgetter("ref"))

    def _set_aside(self, name: str, error: Exception) -> None:
        """Go on without a file. Raises StorageError if it may be intact: this process is short of something."""
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise StorageError(f"{self._folder.path}: {reason(error)}") from None
        self._found.block_files.pop(name, None)
        self._found.damaged += 1
        text = reason(error) if isinstance(error, OSError) else str(error)
        text += self._claimed(name) if isinstance(error, BlockError) else ""
        self._fault(name, 0, text)
        aside = self._try(lambda: evidence.set_aside(self._folder.fd, name))
        self._say("error", name, f"{f'set aside as {name}{evidence.DAMAGED}' if aside else 'ignored'}: {text}")

    def _claimed(self, name: str) -> str:
        """What the header of a damaged block file says of its samples, if that makes sense."""
        try:
            samples, mint, maxt = blockfile.claim(next(_read(self._folder.fd, name), b""))
        except (BlockError, OSError):
            return ""
        return f"; by its header it had {counted(samples, 'sample')} from {moment(mint)} to {moment(maxt)}"

    def _fault(self, name: str, offset: int, text: str) -> None:
        self._found.faults.append(Fault(name, offset, text))

    def _say(self, level: str, name: str, text: str) -> None:
        """Report what befell a file. On a dead disk it is all of them; a few lines say that."""
        self._said += 1
        if self._said <= self._most_said:
            self._report(level, f"storage: {os.path.join(self._folder.path, name)}: {text}")
        elif self._said == self._most_said + 1:
            self._report("error", f"storage: {self._folder.path}: more files are damaged: prom-probe storage verify")

    def _try(self, change: Callable[[], object]) -> bool:
        """Change something in the folder, if that is wanted; whether it was done."""
        if not self._repair:
            return False
        try:
            change()
        except OSError as error:
            self._found.unrepaired += 1
            if self._found.unrepaired <= self._most_said:
                self._report("warn", f"storage: {self._folder.path}: cannot repair: {reason(error)}")
            return False
        return True


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _offer_again(
    replay: WalReplay, waiting: list[tuple[int, bytes]], kept: list[tuple[int, int]]
) -> list[tuple[int, bytes]]:
    """Take what waits for an introduction; returns what still does."""
    still = []
    for at, payload in waiting:
        try:
            replay.take(payload)
        except ValueError:
            still.append((at, payload))
        else:
            kept.append((at, at + FRAME.size + len(payload)))
    return still


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of a segment in the order in which they were taken; neighbours become one."""
    out: list[tuple[int, int]] = []
    for start, end in ranges:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def _read(folder: int, name: str) -> Iterator[bytes]:
    """A file's bytes; read, not mapped, so that a failing disk is an OSError and the pages do not count as ours."""
    with open(file_ops.open_to_read(folder, name), "rb", buffering=0) as stream:
        while chunk := stream.read(_READ_BYTES):
            yield chunk
