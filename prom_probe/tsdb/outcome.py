"""What becomes of a sample that the store is offered, and the error for an announcement that it cannot take."""

from enum import StrEnum

MAX_TIME = 1 << 53  # ms; a timestamp beyond is no timestamp


class AppendOutcome(StrEnum):
    """The answer to an append. All but APPENDED are counted by `Store.stats().rejected` under their value."""

    APPENDED = "appended"
    DUPLICATE = "duplicate"  # this sample is stored already; for a row, also another row at the newest timestamp
    CONFLICT = "conflict"  # another value is stored at this timestamp
    OUT_OF_ORDER = "out_of_order"  # older than the series' newest sample
    TOO_OLD = "too_old"  # older than the retention
    UNKNOWN_LAYOUT = "unknown_layout"  # no announcement of this layout
    MALFORMED = "malformed"  # not whole float64s, more of them than columns, unsorted labels, an absurd timestamp
    SERIES_LIMIT = "series_limit"  # no room for another series


class StorageError(ValueError):
    """A directory that cannot be the store's; the text is one line that says which and why."""


class LayoutError(ValueError):
    """An announcement that does not fit what is known of its collector; the text says where."""
