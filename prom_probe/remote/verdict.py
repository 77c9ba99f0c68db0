"""What a receiver's answer means for the request: it is done, smaller, repeated or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

# The longest that a receiver's Retry-After is obeyed.
MAX_RETRY_AFTER_S = 300.0


# An answer to a 2.0 request says so how much was stored; one that does not is a 1.x receiver's, which stored nothing.
WRITTEN = "x-prometheus-remote-write-samples-written"


class Verdict(Enum):
    """What to do with a request that was answered."""

    DONE = "done"
    SMALLER = "smaller"
    RETRY = "retry"
    OTHER_MESSAGE = "other message"
    DROP = "drop"


def judge(status: int, *, wrong_message: bool = False) -> Verdict:
    """A redirect is no answer, as it is not followed: that is repeated until the settings are right.

    `wrong_message`: a 2xx answer lacks what a receiver that understood the message says.
    """
    if 200 <= status < 300:
        return Verdict.OTHER_MESSAGE if wrong_message else Verdict.DONE
    if status == 413:
        return Verdict.SMALLER
    if status == 415:
        return Verdict.OTHER_MESSAGE
    if status == 429 or not 400 <= status < 500:
        return Verdict.RETRY
    return Verdict.DROP


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float:
    """How long the receiver asks us to wait, as seconds or as an HTTP date; 0 if it does not. `now_s` is Unix time."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), MAX_RETRY_AFTER_S)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime  # rarely needed

    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, at_s - now_s), MAX_RETRY_AFTER_S)


def written_samples(headers: Mapping[str, str], samples: int) -> int:
    """How many of a request's samples the receiver has stored although it refuses the request; 0 if it does not say."""
    text = headers.get(WRITTEN, "").strip()
    return min(int(text[:10]), samples) if text.isascii() and text.isdigit() else 0
