"""Where on disk a piece of a stream is."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.tsdb.disk.blockfile import HeadRange
from prom_probe.tsdb.disk.file_writer import WriteBlock


class PieceFiles:
    """`heads` are those that the piece holds.

    `name`: its block file, None while it has none. `segment`: the oldest segment of the log with something of it that
    is in no block file. `sources`: files that are not needed any more once it has one. `job`: what writes its file.
    """

    __slots__ = ("heads", "job", "name", "segment", "sources")

    def __init__(self, heads: HeadRange, segment: int | None, name: str | None = None) -> None:
        self.heads = heads
        self.segment = segment
        self.name = name
        self.sources: list[str] = []
        self.job: WriteBlock | None = None

    @classmethod
    def over(cls, places: Sequence[PieceFiles]) -> PieceFiles:
        """The place of what neighbours have become."""
        first, last = places[0].heads, places[-1].heads
        segments = [place.segment for place in places if place.segment is not None]
        whole = cls(HeadRange(first.stream, first.first, last.last), min(segments, default=None))
        whole.sources = [name for place in places for name in place.names()]
        return whole

    def names(self) -> list[str]:
        """All its files."""
        return self.sources if self.name is None else [*self.sources, self.name]

    def filed(self, name: str) -> list[str]:
        """Note that it has a file; gives those that are not needed any more."""
        self.name, self.segment, self.job = name, None, None
        done, self.sources = self.sources, []
        return done

    def cancel(self) -> None:
        """Let its file not be written if it is not yet."""
        if self.job is not None:
            self.job.cancelled = True
            self.job = None
