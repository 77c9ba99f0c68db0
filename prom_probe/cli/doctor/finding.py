"""What the doctor says of one source."""

from __future__ import annotations

from typing import Literal

import msgspec

# "missing" was asked for and is not there; "absent" is not there, and nobody asked for it.
Status = Literal["ok", "missing", "absent"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source of one subject: whether it can be read, else why not, what to change, and what goes without it."""

    subject: str
    source: str
    status: Status
    detail: str = ""
    reason: str = ""
    change: str = ""
    without: str = ""
