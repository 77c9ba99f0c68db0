"""What was skipped so that the newest samples go first: per stream, from one cursor to another, sent behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from prom_probe.remote.feed_protocol import CursorFields

# How many gaps are kept; after that, what was missed is sent before what is new.
MOST_GAPS = 200

# How often a request out of a gap may fail while newer ones are accepted, before it is dropped: a receiver may refuse
# what is too old for it with an answer that is to be repeated.
MOST_FAILURES = 5


class Gap(msgspec.Struct, array_like=True, frozen=True):
    """A part of a stream that is still to be sent: what is behind `cursor`, up to `limit`."""

    stream: str
    cursor: CursorFields
    limit: CursorFields


def oldest_gaps(gaps: Iterable[Gap]) -> dict[str, Gap]:
    """Each stream's first gap, which is sent next."""
    found: dict[str, Gap] = {}
    for gap in gaps:
        found.setdefault(gap.stream, gap)
    return found


def advanced(gaps: Iterable[Gap], cursors: Mapping[str, CursorFields]) -> list[Gap]:
    """The gaps that are left when each stream's first one was sent up to these cursors."""
    left, seen = [], set()
    for gap in gaps:
        cursor = gap.cursor if gap.stream in seen else cursors.get(gap.stream, gap.cursor)
        seen.add(gap.stream)
        if cursor < gap.limit:
            left.append(Gap(gap.stream, cursor, gap.limit))
    return left
