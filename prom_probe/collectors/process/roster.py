"""Who is in which tree: finds the processes that are new since the last collection, at the least cost.

Listing /proc costs about 0.4 us a process of the whole machine. But the kernel hands out PIDs in order and tells the
newest in /proc/loadavg: while that is the same nothing has forked, and a few new PIDs are looked at one by one. Else,
and now and then, /proc is listed, less often where that is long, and what is new in it is looked at: what was not there
before, and what has a PID that was given since, whoever had it before. A member stays one until its kept descriptor
says that it is gone.
"""

import os
from collections.abc import Collection, Iterable, Set
from time import thread_time
from typing import NamedTuple

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.rules import RULES, Found, PidRule, RuleTable
from prom_probe.sources.descriptors import KeptFile, read_line
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_loadavg import parse_last_pid
from prom_probe.sources.proc_pid_stat import parse_is_thread, parse_proc_pid_stat, read_proc_pid_stat

# A listing may take one part in this many of the time, and is not put off for longer than so many seconds.
_LISTING_SHARE = 500
_LISTING_PAUSE_S = 2.0
# Collections after which /proc is listed anyway: a restored process has an old PID, and a container's loadavg may lie.
# Four times as many each time, up to the second number, as long as nothing was ever missed.
_LIST_ANYWAY = 10
_LIST_SELDOM = 512
# New PIDs that are cheaper to look at than a listing.
_MAX_PROBES = 32
# Collections for which a new process that no rule wants is looked at again: between fork and exec it has its parent's
# name, and a process may be moved to its cgroup after its start.
_REVISITS = 3
# The first refresh finds every process there is; of those, what started so many seconds before the newest is new.
_YOUNG_S = 2
# Other processes are looked at again in turn: their PID may be another's by now. One in each collection, or so many
# with each listing where it is known which PIDs were given.
_SWEEP_LISTED = 8
# The same where a name matters: all of them within about this many collections.
_SWEEP_ALL = 32


class Place(NamedTuple):
    """A member's tree, and the number of the rule that put it there."""

    rule: int
    tree: str


class Roster:
    """`members` by PID. Whoever sees that a member is gone calls `forget`."""

    def __init__(self, context: Context, rules: RuleTable = RULES) -> None:
        self.rules = [rules[watch.kind](watch, context) for watch in context.watches]
        self.members: dict[int, Place] = {}
        self._has_listed = False  # whether the last `refresh` listed /proc
        self._context = context
        self._procfs = context.procfs
        self._loadavg = KeptFile(f"{context.procfs}/loadavg", context.descriptors, read_line)
        self._known: set[str] = set()  # the names in /proc, processes and others
        self._revisits: dict[int, int] = {}
        self._sweep: list[str] = []
        self._by_name = any(rule.revisit for rule in self.rules)
        self._by_list = any(rule.lists for rule in self.rules)
        # Whether the PIDs in procfs are those of our own PID namespace.
        self.own_namespace = _is_own_namespace(context.procfs)
        self._newest_pid: int | None = None
        self._since_listing = self._list_after = _LIST_ANYWAY
        self._list_most = _LIST_SELDOM
        self._list_at = 0.0
        self._first = True

    def refresh(self) -> list[tuple[Found, Place]]:
        """The processes that have become members, parents before their children."""
        new = self._find_new()
        again = self._take_revisits() - new
        if not (new or again or self._by_list):
            return []
        own = self._context.own_pids()
        pids = {*new, *again}
        for rule in self.rules:
            pids.update(rule.refresh(own))
        pids = {pid for pid in pids if pid not in self.members and pid not in own}
        if not pids:
            return []
        found: dict[int, Found] = {}
        for pid in pids:
            entry = self._look(pid, pid in again)
            if entry is not None:
                found[pid] = entry
        placed = self._place_all(found)
        self._plan_revisits(new, found, own)
        self._first = False
        return placed

    def forget(self, pid: int) -> None:
        """The member is gone; its PID may come again."""
        self.members.pop(pid, None)
        self._known.discard(str(pid))

    def readopt(self, members: Iterable[tuple[int, int, str]]) -> list[tuple[Found, Place]]:
        """Members of a predecessor that no lineage shows, (pid, start time, tree), those that still live."""
        placed = []
        numbers = {watch.name: number for number, watch in enumerate(self._context.watches)}
        for pid, start, tree in members:
            entry = self._look(pid, True)
            if entry is not None and entry.start == start and pid not in self.members:
                place = Place(numbers.get(tree, len(self.rules)), tree)
                self.members[pid] = place
                placed.append((entry, place))
        return placed

    def close(self) -> None:
        self._loadavg.close()
        for rule in self.rules:
            rule.close()

    def _find_new(self) -> set[int]:
        """PIDs that were not there before."""
        self._has_listed = False
        self._since_listing += 1
        before, newest = self._newest_pid, self._read_newest_pid()
        if newest is not None and before is not None and 0 <= newest - before <= _MAX_PROBES:
            self._newest_pid = newest
            if self._since_listing < self._list_after or self._context.monotonic() < self._list_at:
                return self._probe(range(before + 1, newest + 1)) if newest != before else set()
        elif self._context.monotonic() < self._list_at:
            return set()
        self._newest_pid = newest
        if before is not None and newest is not None:
            self._forget_given(before, newest)
        listed = self._list()
        if before is not None and newest is not None:
            if any(not _is_between(before, pid, newest) for pid in listed):
                newest = self._read_newest_pid()  # they may have been forked meanwhile
                if newest is None or any(not _is_between(before, pid, newest) for pid in listed):
                    self._list_after = self._list_most = _LIST_ANYWAY
            self._list_after = min(self._list_after * 4, self._list_most)
        elif newest is not None and newest < os.getpid():
            self._list_most = _LIST_ANYWAY  # we have been forked since: most probably it always says the same
        return listed

    def _read_newest_pid(self) -> int | None:
        if not self.own_namespace:
            return None
        try:
            return parse_last_pid(self._loadavg.read())
        except (OSError, ParseError):
            return None

    def _forget_given(self, before: int, newest: int) -> None:
        """What has a PID that was given since `before` was the newest is not known, whatever had it then."""
        if 0 <= newest - before <= _MAX_PROBES:
            self._known.difference_update(map(str, range(before + 1, newest + 1)))
            return
        digits = ((name, int(name)) for name in self._known if name.isdigit())
        self._known -= {name for name, pid in digits if _is_between(before, pid, newest)}

    def _probe(self, pids: range) -> set[int]:
        new = set()
        for pid in pids:
            try:
                if not parse_is_thread(read_proc_pid_stat(self._procfs, pid)):
                    new.add(pid)
            except (OSError, ParseError):
                continue  # it has ended already
        self._known.update(map(str, new))
        return new

    def _list(self) -> set[int]:
        self._has_listed = True
        start = thread_time()  # not the wall clock, which counts what others did meanwhile
        names = os.listdir(self._procfs)
        new = [name for name in names if name not in self._known]
        if len(names) - len(new) < len(self._known):
            self._known.intersection_update(names)
        self._known.update(new)
        pause_s = min((thread_time() - start) * _LISTING_SHARE, _LISTING_PAUSE_S)
        self._list_at = self._context.monotonic() + pause_s
        self._since_listing = 0
        return {int(name) for name in new if name.isdigit()}

    def _take_revisits(self) -> Set[int]:
        if not (self._revisits or self._has_listed or self._by_name or self._newest_pid is None):
            return frozenset()
        again = set(self._revisits)
        self._revisits = {pid: left - 1 for pid, left in self._revisits.items() if left > 1}
        if not self._sweep:
            self._sweep = list(self._known)
        share = len(self._known) // _SWEEP_ALL if self._by_name else 0
        share = max(share, 1 if self._newest_pid is None else _SWEEP_LISTED * self._has_listed)
        if share:
            again.update(int(name) for name in self._sweep[-share:] if name.isdigit())
            del self._sweep[-share:]
        return again

    def _plan_revisits(self, new: set[int], found: dict[int, Found], own: Collection[int]) -> None:
        adopters = {rule.adopter for rule in self.rules if isinstance(rule, PidRule)}
        young = 0
        if self._first:
            newest = max(entry.start for entry in found.values()) if found else 0
            young = newest - _YOUNG_S * self._context.ticks_per_s
        for pid in new:
            entry = found.get(pid)
            if entry is None or pid in self.members:
                continue
            if entry.ppid in adopters or entry.ppid in own or (self._by_name and entry.start >= young):
                self._revisits[pid] = _REVISITS

    def _look(self, pid: int, again: bool) -> Found | None:
        try:
            stat = parse_proc_pid_stat(read_proc_pid_stat(self._procfs, pid))
        except (OSError, ParseError):
            return None
        return Found(pid, stat.ppid, stat.starttime, stat.comm, again)

    def _place_all(self, found: dict[int, Found]) -> list[tuple[Found, Place]]:
        placed: list[tuple[Found, Place]] = []
        done: set[int] = set()
        for pid in found:
            # Ancestors that are new too come first: a process inherits its parent's tree.
            line = []
            while pid in found and pid not in done:
                done.add(pid)
                line.append(found[pid])
                pid = found[pid].ppid
            for entry in reversed(line):
                place = self._place(entry)
                if place is not None:
                    self.members[entry.pid] = place
                    placed.append((entry, place))
        return placed

    def _place(self, found: Found) -> Place | None:
        inherited = self.members.get(found.ppid)
        rules = self.rules if inherited is None else self.rules[: inherited.rule]
        for number, rule in enumerate(rules):
            tree = rule.match(found)
            if tree is not None:
                return Place(number, tree)
        return inherited


def _is_between(before: int, pid: int, newest: int) -> bool:
    """Whether the kernel gave `pid` after `before`, up to `newest`; from the largest it goes on with the smallest."""
    return before < pid <= newest if before <= newest else pid > before or pid <= newest


def _is_own_namespace(procfs: str) -> bool:
    try:
        return os.readlink(f"{procfs}/self") == str(os.getpid())
    except OSError:
        return False
