"""Whose memory a new process has: until its exec, a vforked child has its parent's, and COMMAND a copy of ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from prom_probe.collectors.process.process import Image, Process
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat, read_proc_pid_stat

# Parent and child share their memory if both have the same size in one of so many readings; a parent with other
# threads may change it meanwhile.
_TRIES = 3
# Their sizes, read one after the other, differ by less than this part.
_UNLIKE = 8


class Images:
    """Finds the processes whose memory is not their own, in the collection in which they were read."""

    def __init__(self, procfs: str, own_pids: Callable[[], Collection[int]], reread: Callable[[Process], None]) -> None:
        self._procfs = procfs
        self._own_pids = own_pids
        self._reread = reread
        self._borrowed: list[Process] = []

    def look(self, processes: Mapping[int, Process]) -> None:
        """Look at those of the processes that are new or have executed another program."""
        looked = {*self._borrowed, *(process for process in processes.values() if process.image_due)}
        if not looked:
            return
        own = self._own_pids()
        self._borrowed = []
        for process in looked:
            if processes.get(process.pid) is not process or process.zombie:
                continue
            process.image_due = not process.state  # it has not been read
            image = self._find(process, processes.get(process.ppid), own)
            if image is Image.OWN:
                process.image = image
            else:
                process.borrow(image)
                self._borrowed.append(process)

    def _find(self, process: Process, parent: Process | None, own: Collection[int]) -> Image:
        if process.ppid in own:
            return Image.OURS if self._is_copy(process) else Image.OWN
        if parent is None or parent.stack != process.stack or parent.start > process.start:
            return Image.OWN
        if abs(process.resident - parent.resident) * _UNLIKE > parent.resident:
            return Image.OWN  # a fork's copy, which lacks the pages of files
        for _ in range(_TRIES):
            try:
                before, memory, after = (who.files.statm() for who in (parent, process, parent))
            except OSError:
                # One has ended. As it was read, the child had what the parent had, or memory of its own.
                same = (process.virtual, process.resident) == (parent.virtual, parent.resident)
                return Image.PARENTS if same and process.stack else Image.OWN
            if memory in (before, after) and self._waits(parent):
                return Image.PARENTS
        self._reread(process)  # it may have executed its program since it was read
        return Image.OWN

    def _waits(self, parent: Process) -> bool:
        """Whether a thread of a process waits for a child's exec. A copy by fork may be as large as its parent."""
        files = parent.files
        if _is_waiting(files.stat):
            return True
        try:
            others = files.tasks() if parent.threads > 1 else []
        except OSError:
            return False
        return any(_is_waiting(partial(files.task, tid, "stat")) for tid in others)

    def _is_copy(self, process: Process) -> bool:
        """Whether a child of ours is still what it was forked as."""
        try:
            ours = parse_proc_pid_stat(read_proc_pid_stat(self._procfs, process.ppid))
        except (OSError, ParseError):
            return False
        return ours.startstack == process.stack if process.stack else ours.comm == process.comm


def _is_waiting(read_stat: Callable[[], bytes]) -> bool:
    """Whether a thread is in state D, as in vfork(2) until the child's exec; False if it has ended."""
    try:
        return parse_proc_pid_stat(read_stat()).state == b"D"
    except (OSError, ParseError):
        return False
