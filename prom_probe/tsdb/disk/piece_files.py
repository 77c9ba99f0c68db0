"""The files that hold a piece of a stream."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.tsdb.disk.blockfile import HeadRange
from prom_probe.tsdb.disk.file_writer import WriteBlock


class PieceFiles:
    """`heads`: the heads that the piece was made of.

    `name`: its block file; None while it has none. `segment`: the oldest WAL segment with samples of it that are in no
    block file. `sources`: block files that its own will replace. `job`: the job that writes its file.
    """

    __slots__ = ("heads", "job", "name", "segment", "sources")

    def __init__(self, heads: HeadRange, segment: int | None, name: str | None = None) -> None:
        self.heads = heads
        self.segment = segment
        self.name = name
        self.sources: list[str] = []
        self.job: WriteBlock | None = None

    @classmethod
    def merged(cls, parts: Sequence[PieceFiles]) -> PieceFiles:
        """The files of a piece that neighbours were merged into."""
        first, last = parts[0].heads, parts[-1].heads
        segments = [part.segment for part in parts if part.segment is not None]
        whole = cls(HeadRange(first.stream, first.first, last.last), min(segments, default=None))
        whole.sources = [name for part in parts for name in part.names()]
        return whole

    def names(self) -> list[str]:
        """All its block files."""
        return self.sources if self.name is None else [*self.sources, self.name]

    def filed(self, name: str) -> list[str]:
        """Note that it has a block file; returns those that are not needed any more."""
        self.name, self.segment, self.job = name, None, None
        done, self.sources = self.sources, []
        return done

    def cancel(self) -> None:
        """Do not write its file, if that has not happened yet."""
        if self.job is not None:
            self.job.cancelled = True
            self.job = None
