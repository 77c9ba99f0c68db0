"""Which process belongs to which tree: finds the processes that are new since the last collection, cheaply.

Listing /proc costs about 0.4 us for each process of the machine. But the kernel hands out PIDs in order, and
/proc/loadavg has the newest: while that is the same, nothing has forked, and a few new PIDs can be looked at one by
one. Otherwise, and from time to time anyway, /proc is listed, less often where it is long. Then the new entries are
looked at: those that were not there before, and those whose PID has been given out since. A member remains one until
its kept descriptor shows that it is gone.
"""

import os
from collections.abc import Collection, Iterable, Set
from time import thread_time
from typing import NamedTuple

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.rule import Candidate, RuleTable
from prom_probe.collectors.process.rules import RULES, PidRule
from prom_probe.sources.descriptors import KeptFile, read_line
from prom_probe.sources.errors import ParseError
from prom_probe.sources.pid_namespace import is_own_namespace
from prom_probe.sources.proc_loadavg import parse_last_pid
from prom_probe.sources.proc_pid_stat import parse_is_thread, parse_proc_pid_stat, read_proc_pid_stat

# Listings may take 1/500 of the time, but one is never put off for longer than this many seconds.
_LISTING_SHARE = 500
_LISTING_PAUSE_S = 2.0
# Collections after which /proc is listed anyway: a restored process has an old PID, and a container's loadavg may be
# wrong. The number grows fourfold each time, up to the second, as long as nothing has been missed.
_LIST_ANYWAY = 10
_LIST_SELDOM = 512
# After a process that the newest PID did not announce, /proc is listed in each collection for this long.
_DISTRUST_S = 600.0
# Up to this many new PIDs are cheaper to look at than a listing.
_MAX_PROBES = 32
# A new process that matches no rule is looked at again in this many collections: between fork and exec it has its
# parent's name, and a process may be moved to its cgroup after its start.
_REVISITS = 3
# The first refresh finds every process; those that started at most this long before the newest count as new.
_YOUNG_S = 2
# Other processes are looked at again in turn, as their PID may have been reused: one in each collection, or this many
# with each listing where it is known which PIDs were given out.
_SWEEP_LISTED = 8
# Where a rule goes by names, all of them within about this many collections.
_SWEEP_ALL = 32


class Place(NamedTuple):
    """A member's tree, the number of the rule that it matched, and its start in ticks since boot."""

    rule: int
    tree: str
    start: int


class Roster:
    """`members` by PID. Call `forget` when a member is found to be gone."""

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
        self.own_namespace = is_own_namespace(context.procfs)
        self._newest_pid: int | None = None
        self._since_listing = self._list_after = _LIST_ANYWAY
        self._list_most = _LIST_SELDOM
        self._list_at = 0.0
        self._starts: dict[int, int] = {}  # of processes and parents that the newest refresh has looked at
        self._links = 0  # of procfs: the kernel adds the number of all processes
        # LXCFS mounts a file of its own over loadavg, whose newest PID never changes.
        trusts = _are_on_one_device(context.procfs, f"{context.procfs}/loadavg")
        self._trusted_from_s = 0.0 if trusts else float("inf")
        self._first = True

    def refresh(self) -> list[tuple[Candidate, Place]]:
        """Find new members; parents come before their children."""
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
        found: dict[int, Candidate] = {}
        for pid in pids:
            entry = self._look(pid, pid in again)
            if entry is not None:
                found[pid] = entry
        placed = self._place_all(found)
        self._plan_revisits(new, found, own)
        self._first = False
        return placed

    def forget(self, pid: int) -> None:
        """The member is gone; its PID may be reused."""
        self.members.pop(pid, None)
        self._known.discard(str(pid))

    def readopt(self, members: Iterable[tuple[int, int, str]]) -> list[tuple[Candidate, Place]]:
        """Live members of a predecessor, (pid, start time, tree), whose tree their parents do not show."""
        placed = []
        numbers = {watch.name: number for number, watch in enumerate(self._context.watches)}
        for pid, start, tree in members:
            entry = self._look(pid, True)
            if entry is not None and entry.start == start and pid not in self.members:
                place = Place(numbers.get(tree, len(self.rules)), tree, start)
                self.members[pid] = place
                placed.append((entry, place))
        return placed

    def close(self) -> None:
        self._loadavg.close()
        for rule in self.rules:
            rule.close()

    def _find_new(self) -> set[int]:
        """PIDs that are new."""
        self._has_listed = False
        self._since_listing += 1
        before, newest = self._newest_pid, self._read_newest_pid()
        more = self._count_links()
        if newest is not None and before is not None and 0 <= newest - before <= _MAX_PROBES:
            self._newest_pid = newest
            due = self._since_listing >= self._list_after or (more and newest == before)
            if not due or self._context.monotonic() < self._list_at:
                return self._probe(range(before + 1, newest + 1)) if newest != before else set()
        elif self._context.monotonic() < self._list_at:
            return set()
        self._newest_pid = newest
        if before is not None and newest is not None:
            self._forget_given(before, newest)
        listed = self._list()
        if before is not None and newest is not None:
            if any(not _is_between(before, pid, newest) for pid in listed):
                newest = self._read_newest_pid()  # they may have been forked during the listing
                if newest is None or any(not _is_between(before, pid, newest) for pid in listed):
                    self._list_after = self._list_most = _LIST_ANYWAY
                    self._trusted_from_s = max(self._trusted_from_s, self._context.monotonic() + _DISTRUST_S)
            self._list_after = min(self._list_after * 4, self._list_most)
        elif newest is not None and newest < os.getpid():
            self._list_most = _LIST_ANYWAY  # older than our own PID: it probably never changes
        return listed

    def _count_links(self) -> bool:
        """Whether procfs has more links than in the last collection: there are more processes, ours or others."""
        before = self._links
        try:
            self._links = os.stat(self._procfs).st_nlink
        except OSError:
            return False
        return self._links > before

    def _read_newest_pid(self) -> int | None:
        if not self.own_namespace or self._context.monotonic() < self._trusted_from_s:
            return None
        try:
            return parse_last_pid(self._loadavg.read())
        except (OSError, ParseError):
            return None

    def _forget_given(self, before: int, newest: int) -> None:
        """Forget the PIDs given out since `before` was the newest: another process may have them."""
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
                continue  # ended already
        self._known.update(map(str, new))
        return new

    def _list(self) -> set[int]:
        self._has_listed = True
        start = thread_time()  # the wall clock would include other processes' work
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

    def _plan_revisits(self, new: set[int], found: dict[int, Candidate], own: Collection[int]) -> None:
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

    def _look(self, pid: int, again: bool) -> Candidate | None:
        try:
            stat = parse_proc_pid_stat(read_proc_pid_stat(self._procfs, pid))
        except (OSError, ParseError):
            return None
        return Candidate(pid, stat.ppid, stat.starttime, stat.comm, again, stat.startstack)

    def _place_all(self, found: dict[int, Candidate]) -> list[tuple[Candidate, Place]]:
        placed: list[tuple[Candidate, Place]] = []
        done: set[int] = set()
        self._starts = {entry.pid: entry.start for entry in found.values()}
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

    def _place(self, found: Candidate) -> Place | None:
        inherited = self._inherit(found)
        rules = self.rules if inherited is None else self.rules[: inherited.rule]
        for number, rule in enumerate(rules):
            tree = rule.match(found)
            if tree is not None:
                return Place(number, tree, found.start)
        return None if inherited is None else inherited._replace(start=found.start)

    def _inherit(self, found: Candidate) -> Place | None:
        """Its parent's place; None where the parent is no member, or has the PID of a member that is gone."""
        place = self.members.get(found.ppid)
        if place is None or found.start < place.start:
            return None
        if found.ppid not in self._starts:
            parent = self._look(found.ppid, True)
            self._starts[found.ppid] = place.start if parent is None else parent.start
        return place if self._starts[found.ppid] == place.start else None


def _are_on_one_device(*paths: str) -> bool:
    try:
        return len({os.stat(path).st_dev for path in paths}) == 1
    except OSError:
        return True


def _is_between(before: int, pid: int, newest: int) -> bool:
    """Whether the kernel gave out `pid` after `before`, up to `newest`; PIDs wrap around."""
    return before < pid <= newest if before <= newest else pid > before or pid <= newest
