"""What becomes of a sample that the store is offered, and the store's errors."""

from enum import StrEnum

MAX_TIME = 1 << 53  # ms; timestamps beyond it are refused


class AppendOutcome(StrEnum):
    """The answer to an append. `Store.stats().rejected` counts all but APPENDED, by their value."""

    APPENDED = "appended"
    DUPLICATE = "duplicate"  # already stored; for a row, also any other row at the newest timestamp
    CONFLICT = "conflict"  # another value is stored at this timestamp
    OUT_OF_ORDER = "out_of_order"  # older than the series' newest sample
    TOO_OLD = "too_old"  # older than the retention
    UNKNOWN_LAYOUT = "unknown_layout"  # the layout has not been announced
    MALFORMED = "malformed"  # not whole float64s, more of them than columns, invalid labels, an absurd timestamp
    SERIES_LIMIT = "series_limit"  # no room for another series


class StorageError(ValueError):
    """A directory that the store cannot use; the text is one line that says which and why."""


class UnusableStoreError(StorageError):
    """A directory that the store cannot use now: its disk is full or fails, or what is in it is not as it should be."""


class LayoutError(ValueError):
    """An announcement that contradicts what is known of its collector; the text says where."""
