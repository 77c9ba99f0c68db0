"""What the doctor has found out about one source."""

from __future__ import annotations

from typing import Literal

import msgspec

# "missing" is what the settings ask for, "absent" is what they do not.
Status = Literal["ok", "missing", "absent"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A source: whether it can be read; if not, why, what to change, and what is lost without it."""

    subject: str
    source: str
    status: Status
    detail: str = ""
    reason: str = ""
    change: str = ""
    without: str = ""
