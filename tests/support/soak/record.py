"""What a soak has seen: readings of our processes, what was done to them, what they answered and what they stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple


class Reading(NamedTuple):
    """`quantity`: one of `verdict.BOUNDS`."""

    t_s: float
    process: str
    quantity: str
    value: float


class Event(NamedTuple):
    """Something that was done to the sidecar; `worker` is the one that it befell, "" for none in particular."""

    t_s: float
    what: str
    worker: str = ""


class Failure(NamedTuple):
    """A request that was not answered as it should be."""

    t_s: float
    kind: str
    text: str


@dataclass
class Record:
    """Times are Unix seconds. Threads append to it side by side; it is read when they have ended."""

    begun_s: float = 0.0
    ended_s: float = 0.0
    interval_s: float = 1.0
    readings: list[Reading] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)  # by kind, those that failed included
    failures: list[Failure] = field(default_factory=list)
    ticks: dict[str, set[float]] = field(default_factory=dict)  # by collector, when its stored samples are of
    counters: dict[str, list[float]] = field(default_factory=dict)  # successive values of what /metrics counts
    log: str = ""
    status: int | None = None  # of the sidecar's end
    left: list[str] = field(default_factory=list)  # processes of ours that outlived it
    stored: str = ""  # what is wrong with what it left on disk

    def happened(self, what: str) -> list[Event]:
        return [event for event in self.events if event.what == what]

    def increase(self, counter: str) -> float:
        """How much a counter rose; it begins anew where a worker did."""
        values = self.counters.get(counter, [])
        return sum(new - old if new >= old else new for old, new in pairwise(values))
