"""Something that happened at a moment of a run: as it is sent, stored and answered."""

from typing import Literal

import msgspec

EventType = Literal["process_start", "process_end", "exec", "oom_kill", "throttled", "gap", "worker_restart"]


class RunEvent(msgspec.Struct, frozen=True, array_like=True):
    """`t` is unix seconds. `tree` and `pid` are None where it did not happen to one."""

    t: float
    type: EventType
    tree: str | None = None
    pid: int | None = None
    text: str = ""
