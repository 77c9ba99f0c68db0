"""What a watch's rule is: it decides which processes belong to the watch."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol, TypeAlias

from prom_probe.collectors.base import Context
from prom_probe.model.watch import Watch


class Candidate(NamedTuple):
    """A process that is in no tree yet."""

    pid: int
    ppid: int
    start: int  # ticks since boot
    comm: bytes
    again: bool  # an earlier refresh saw it too, so it has had time to exec
    stack: int = 0  # where its stack begins (see `ProcPidStat`)


class Rule(Protocol):
    """Decides for one watch.

    `revisit`: its answer may change while a process lives, by an exec. `lists`: its `refresh` returns PIDs.
    """

    revisit: bool
    lists: bool

    def refresh(self, own: Collection[int]) -> Collection[int]:
        """Called once before the `match`es of a refresh; returns PIDs to match even if they are not new.

        Where no rule `lists`, it is only called when there is a process to match.
        """

    def match(self, found: Candidate) -> str | None:
        """The name of the tree that the process itself belongs to, whatever its parent's; None for no tree."""

    def close(self) -> None: ...


# By the kind of watch.
RuleTable: TypeAlias = Mapping[str, Callable[[Watch, Context], Rule]]


def decode(text: bytes) -> str:
    """A command name as a label: bytes that are not UTF-8 become \\xNN."""
    return text.decode("utf-8", "backslashreplace")
