"""Sections whose readings may hang for ever (a dead mount, a dead sensor): read in a thread that can be abandoned."""

import threading
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Generic, TypeVar

from prom_probe.collectors.system.section import Host, Section
from prom_probe.sources.errors import ParseError

K = TypeVar("K")
V = TypeVar("V")

# Seconds that one reading may take.
LIMIT_S = 2.0
# Threads that may hang at once. At this number, only items that answered the last time are read.
MAX_HUNG = 8
# Beats come a little early or late: a round that is due within this time begins now.
_EARLY_S = 0.05


class _Round(threading.Thread, Generic[K, V]):
    """Reads one item after the other. A daemon thread: the process can end while it hangs.

    (The kernel does not keep the process for it either: waits for NFS and FUSE end with SIGKILL.)
    """

    def __init__(self, read: Callable[[K], V], items: Iterable[K]) -> None:
        super().__init__(name="rounds", daemon=True)
        self._read = read
        self.left = list(items)  # not read yet
        self.at: K | None = None  # being read
        self.answers: dict[K, V | Exception] = {}
        self.given_up = False

    def run(self) -> None:
        while self.left and not self.given_up:
            self.at = item = self.left[0]
            del self.left[0]
            try:
                answer: V | Exception = self._read(item)
            except Exception as error:  # reported where the answers are taken
                answer = error
            if not self.given_up:
                self.answers[item] = answer
                self.at = None


class Rounds(Generic[K, V]):
    """Reads all items every `every_s` seconds; an item that hangs has at most one thread.

    Owned by one thread, which waits at most `patience_s` in a call; `hung` are the items that still have not answered.
    """

    def __init__(self, read: Callable[[K], V], every_s: float, patience_s: float) -> None:
        self._read = read
        self._every_s = every_s
        self._patience_s = patience_s
        self._round: _Round[K, V] | None = None
        self._due_s = -inf
        self._at: K | None = None
        self._since_s = 0.0  # since when that item is being read
        self._answers: dict[K, V | Exception] = {}
        self._answered: Collection[K] = ()
        self._hung: dict[K, _Round[K, V]] = {}

    @property
    def hung(self) -> Collection[K]:
        return self._hung.keys()

    @property
    def due_s(self) -> float:
        """When there is something to do: at once during a round, else when the next is due."""
        return -inf if self._round is not None else self._due_s

    def is_due(self, now: float) -> bool:
        """Whether a round should begin: True once every `every_s`."""
        if self._round is not None or now < self._due_s:
            return False
        self._due_s = now + self._every_s - _EARLY_S
        return True

    def begin(self, now: float, items: Iterable[K]) -> None:
        """Start a round."""
        self._answers = {}
        self._hung = {item: thread for item, thread in self._hung.items() if thread.is_alive()}
        self._start(now, [item for item in items if item not in self._hung])

    def take(self, now: float) -> dict[K, V | Exception] | None:
        """The answers, once, when the round is over; otherwise None."""
        thread = self._round
        if thread is None:
            return None
        thread.join(self._patience_s)
        if thread.is_alive():
            if thread.at is not self._at:
                self._at, self._since_s = thread.at, now
            elif thread.at is not None and now - self._since_s >= LIMIT_S:
                self._give_up(now, thread, thread.at)
            return None
        self._answers |= thread.answers
        self._answered = self._answers.keys()
        self._round = None
        return self._answers

    def _give_up(self, now: float, thread: _Round[K, V], item: K) -> None:
        thread.given_up = True
        self._hung[item] = thread
        self._answers |= thread.answers
        self._start(now, thread.left)

    def _start(self, now: float, items: list[K]) -> None:
        if len(self._hung) >= MAX_HUNG:
            items = [item for item in items if item in self._answered]
        self._round = _Round(self._read, items)
        self._at, self._since_s = None, now
        self._round.start()


class RoundsSection(Section, Generic[K, V]):
    """A section that reads many items every few seconds."""

    def __init__(self, host: Host, read: Callable[[K], V], every_s: float) -> None:
        super().__init__(host)
        self._rounds = Rounds(read, every_s, host.context.patience_s)

    def list_items(self) -> list[K]:
        """The items to read. Raises OSError, ParseError."""
        raise NotImplementedError

    def name(self, item: K) -> str:
        """The item's name in the log."""
        raise NotImplementedError

    def show(self, answers: dict[K, V]) -> None:
        """Write the series of the items that could be read, and end all others."""
        raise NotImplementedError

    def collect(self) -> None:
        now = self._host.now_s
        if self._rounds.is_due(now):
            try:
                items = self.list_items()
            except (OSError, ParseError):
                self.complete = False
                self.due_s = self._rounds.due_s
                raise
            self._rounds.begin(now, items)
        answers = self._rounds.take(now)
        if answers is not None:
            self.complete = True
            self.show({item: answer for item, answer in answers.items() if not isinstance(answer, Exception)})
            for item, answer in answers.items():
                if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                    self._fail(f"{self.name(item)}: {answer}")
        self.due_s = self._rounds.due_s
        for item in self._rounds.hung:
            self._fail(f"{self.name(item)}: no answer for {LIMIT_S:g} s; no series until there is one")

    def _fail(self, what: str) -> None:
        self.complete = False
        self._host.say(what)
