"""The process collector without /proc: the series that psutil gives by the same definition, and no others.

On macOS psutil has neither reaped children's times nor processes' IO, so there trees have no CPU time and no IO;
processes have their own CPU time.
"""

import os
from collections.abc import Sequence

import msgspec
import psutil

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector, Watched
from prom_probe.collectors.process.columns import Spec
from prom_probe.collectors.process.process import Process
from prom_probe.collectors.process.roster import Roster
from prom_probe.collectors.process.rule import Candidate, Rule, RuleTable
from prom_probe.collectors.process.rules import CmdlineRule, CommRule, PidRule
from prom_probe.model.sample import STALE
from prom_probe.model.watch import Watch


class PsutilCmdlineRule(CmdlineRule):
    """CmdlineRule without /proc."""

    def arguments(self, pid: int) -> list[str]:
        try:
            return psutil.Process(pid).cmdline()
        except psutil.Error:
            return []


def _no_rule(watch: Watch, context: Context) -> Rule:
    raise ValueError(f"watch {watch.name!r}: there are no {watch.kind} watches on this platform")


PSUTIL_RULES: RuleTable = {
    "pid": PidRule,
    "comm": CommRule,
    "cmdline": PsutilCmdlineRule,
    "cgroup": _no_rule,
    "containers": _no_rule,
}


class PsutilRoster(Roster):
    """A roster without /proc."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, PSUTIL_RULES)
        self._boot_time = context.boot_time()

    def _find_new(self) -> set[int]:
        pids = set(map(str, psutil.pids()))
        new = pids - self._known
        self._known = pids
        return set(map(int, new))

    def _look(self, pid: int, again: bool) -> Candidate | None:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                start = round((process.create_time() - self._boot_time) * self._context.ticks_per_s)
                return Candidate(pid, process.ppid(), start, os.fsencode(process.name()), again)
        except psutil.Error:
            return None


class PsutilProcessCollector(ProcessCollector):
    """See `Collector`."""

    def __init__(self, context: Context) -> None:
        self._peers: dict[Process, psutil.Process] = {}
        super().__init__(msgspec.structs.replace(context, cmdline=False, context_switches=False, pss_interval_s=0.0))
        self._tree_absent = _absent(self._columns.tree_specs)
        self._process_absent = _absent(self._columns.process_specs)

    def _make_roster(self) -> Roster:
        return PsutilRoster(self._context)

    def _read(self) -> list[Process]:
        return [process for process in self._processes.values() if not self._is_read(process)]

    def _is_read(self, process: Process) -> bool:
        """Read the process; False where it is gone."""
        try:
            peer = self._peers.get(process)
            if peer is None:
                peer = self._peers[process] = psutil.Process(process.pid)
            if not peer.is_running():  # by its start time too
                del self._peers[process]
                return False
            with peer.oneshot():
                self._take(process, peer)
        except psutil.NoSuchProcess:  # or a zombie
            self._peers.pop(process, None)
            return False
        except psutil.AccessDenied:
            process.fds_readable = False
        return True

    def _take(self, process: Process, peer: psutil.Process) -> None:
        process.state = b"S"
        process.io_readable = process.waited_readable = False
        process.comm = os.fsencode(peer.name())
        process.ppid = peer.ppid()
        times = peer.cpu_times()
        process.user = round(times.user * self._hz)
        process.system = round(times.system * self._hz)
        process.threads = peer.num_threads()
        process.resident = peer.memory_info().rss // self._context.page_bytes
        process.open_fds = peer.num_fds()
        process.fds_readable = True

    def _tree_values(self, watched: Watched, now_s: float) -> list[float]:
        return _blank(super()._tree_values(watched, now_s), self._tree_absent)

    def _process_values(self, process: Process) -> list[float]:
        return _blank(super()._process_values(process), self._process_absent)


def _absent(specs: Sequence[Spec]) -> list[int]:
    """The columns that psutil has no reading for by our definition."""
    return [i for i, spec in enumerate(specs) if spec.definition.platforms == "Linux"]


def _blank(values: list[float], columns: Sequence[int]) -> list[float]:
    for i in columns:
        values[i] = STALE
    return values
