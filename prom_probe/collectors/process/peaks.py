"""The most memory that a tree is known to have had between two collections, by the peaks of its processes."""

from __future__ import annotations

from collections.abc import Collection

from prom_probe.collectors.process.process import Process
from prom_probe.collectors.process.tree import Tree


def peak_between(members: Collection[Process], page_bytes: int) -> int:
    """Resident pages that the tree had at some moment since the last collection; 0 where no peak has risen.

    A process whose peak has risen had that much at a moment, and each other what it had at both ends, or more. Peaks of
    two processes need not have been at the same moment, so they are not added up.
    """
    risen = [(process.risen * 1024 // page_bytes, process) for process in members if process.risen]
    spikes = [(peak, process) for peak, process in risen if peak > max(process.resident, process.resident_before)]
    if not spikes:
        return 0
    others = sum(_at_both_ends(process) for process in members)
    return max(others - _at_both_ends(process) + peak for peak, process in spikes)


def _at_both_ends(process: Process) -> int:
    return min(process.resident, process.resident_before)


def count_command_peak(tree: Tree, peak_bytes: int) -> Process | None:
    """Take what wait4(2) says of COMMAND at its end: how much one process of the tree had at most.

    Returns COMMAND's process, a zombie that is not reaped yet. Where it has reaped nobody, the peak is its own.
    """
    peak = peak_bytes // 1024
    tree.peak_process = max(tree.peak_process, peak)
    command = min(tree.members.values(), key=lambda process: process.start, default=None)
    if command is None or not command.zombie:
        return None
    if not command.child_faults:
        command.peak = max(command.peak, peak)
    return command
