"""Streams: pieces, which are blocks and heads, in the order they were written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from prom_probe.tsdb.block import MAX_TIMELINES, Block
from prom_probe.tsdb.encoding.record import MAX_ROWS
from prom_probe.tsdb.seal import Sealing
from prom_probe.tsdb.stream_view import Piece, StreamView

if TYPE_CHECKING:
    from prom_probe.tsdb.column_map import ColumnMap
    from prom_probe.tsdb.index import IndexedSeries

# Blocks of fewer rows than this are merged, this many at a time.
_MERGED_ROWS = 1024
_MERGE = 4


class Head(Protocol):
    """A piece that is being written. `since`, `seen`: the store's lived time at its first and last append."""

    samples: int
    since: int
    seen: int

    @property
    def size(self) -> int:
        """Bytes that it takes."""

    @property
    def full(self) -> bool:
        """Whether it has as much as a head may have."""

    def freeze(self) -> None:
        """Free what only appending needs."""

    def live_refs(self) -> Iterable[int]:
        """The series that it may have samples of."""

    def seal(self, known: Collection[int]) -> Sealing:
        """Make a block of it, once it is closed; a collector's series that are not in `known` are left out."""

    def view(self) -> Piece:
        """Its contents as of now, for readers."""


H = TypeVar("H", bound=Head)


class StreamObserver(Protocol):
    """Is told what happens to a stream's pieces; `disk/journal.py` writes it to the disk."""

    def row(self, collector: str, head: Any, mapping: ColumnMap, t_ms: int, payload: bytes, lived_ms: int) -> None:
        """A row was appended to a collector's head."""

    def sample(self, head: Any, series: IndexedSeries, t_ms: int, value: float, lived_ms: int) -> None:
        """A sample was appended to a head of appended samples."""

    def replaced(self, old: Sequence[Any], new: Block) -> None:
        """Neighbouring blocks, or a closed head, became one block."""

    def dropped(self, piece: Any) -> None:
        """The oldest piece was dropped."""


class SampleStream(Generic[H]):
    """Pieces in the order they were written: blocks and closed heads, then perhaps an open head.

    The writer replaces `pieces` as a whole. Timestamps rise from piece to piece except where the clock was set back:
    for readers, what was written later takes precedence (`stream_view.py`), and such pieces are not merged. `shared`:
    all series follow one timeline, a collector's.
    """

    shared: bool

    def __init__(self) -> None:
        self.alone: tuple[SampleStream[Any], ...] = (self,)
        self.pieces: tuple[H | Block, ...] = ()
        self._open: H | None = None
        self._apart: set[int] = set()  # uids of blocks that cannot be merged with the next one
        self.dropped = 0  # samples
        self.journal: StreamObserver | None = None

    def begin(self, head: H) -> H:
        """Make `head`, which is not empty, the open piece."""
        self._open = head
        self.pieces = (*self.pieces, head)
        return head

    def close(self) -> None:
        """Close the open head; the next sample begins a new one."""
        if self._open is not None:
            self._open.freeze()
        self._open = None

    def close_due(self, lived_ms: int) -> None:
        """Close the open head if it is full or began before `lived_ms`."""
        if self._open is not None and (self._open.full or self._open.since < lived_ms):
            self.close()

    def drop_oldest(self) -> None:
        """Forget the piece that was written first."""
        oldest = self.pieces[0]
        if oldest is self._open:
            self.close()
        self.pieces = self.pieces[1:]
        self.dropped += oldest.samples
        if self.journal is not None:
            self.journal.dropped(oldest)

    def replace(self, old: tuple[H | Block, ...], new: Block) -> bool:
        """Replace the neighbours `old` by `new`; False if the first of them has been dropped meanwhile."""
        for at, piece in enumerate(self.pieces):
            if piece is old[0]:
                self.pieces = (*self.pieces[:at], new, *self.pieces[at + len(old) :])
                if self.journal is not None:
                    self.journal.replaced(old, new)
                return True
        return False

    def closed_head(self) -> H | None:
        """The oldest closed head, which is the next one to seal."""
        for piece in self.pieces:
            if not isinstance(piece, Block):
                return None if piece is self._open else piece
        return None

    def mergeable(self, most_bytes: int, most_ms: int) -> tuple[Block, ...]:
        """The next neighbours to merge: small blocks of similar size; () if there are none.

        Together they take at most `most_bytes` and span at most `most_ms` of lived time.
        """
        window: list[Block] = []
        for piece in self.pieces:
            if not isinstance(piece, Block) or piece.height >= _MERGED_ROWS:
                window = []
                continue
            if window and window[-1].uid in self._apart:
                window = []
            window = [*window[-_MERGE + 1 :], piece]
            if len(window) < _MERGE or sum(block.size for block in window) > most_bytes:
                continue
            if window[-1].seen - window[0].since <= most_ms and _alike(window):
                return tuple(window)
        return ()

    def keep_apart(self, blocks: tuple[Block, ...]) -> None:
        """Note that these blocks cannot be merged."""
        self._apart = {piece.uid for piece in self.pieces if isinstance(piece, Block) and piece.uid in self._apart}
        self._apart.update(block.uid for block in blocks)

    def current_refs(self) -> Iterable[int]:
        """The series that are being written."""
        return ()

    def alive_refs(self) -> Iterable[int]:
        """The series that are known not to have ended."""
        return ()

    def cost(self) -> int:
        """Bytes that it takes."""
        return sum(piece.size for piece in self.pieces)

    def view(self) -> StreamView:
        """The stream as of now; later appends do not change it."""
        return StreamView([piece.view() for piece in self.pieces], shared=self.shared)


def _alike(window: list[Block]) -> bool:
    heights = [block.height for block in window]
    return (
        2 * max(heights) <= sum(heights)
        and sum(block.tallest for block in window) <= MAX_ROWS
        and sum(block.timelines for block in window) <= MAX_TIMELINES
    )
