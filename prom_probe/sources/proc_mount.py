"""/proc/self/mountinfo: the options with which procfs is mounted (proc(5): hidepid, subset)."""

import os


def parse_proc_options(data: bytes, procfs: str) -> dict[str, str]:
    """The options of the newest procfs mount at `procfs`; empty where it is not a mount point."""
    options: dict[str, str] = {}
    for line in data.splitlines():
        left, _, right = line.partition(b" - ")
        before, after = left.split(), right.split()
        if len(before) < 6 or len(after) < 3 or after[0] != b"proc" or os.fsdecode(before[4]) != procfs:
            continue
        pairs = (os.fsdecode(option).partition("=") for option in after[2].split(b","))
        options = {key: value for key, _, value in pairs}
    return options
