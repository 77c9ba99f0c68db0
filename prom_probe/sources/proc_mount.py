"""/proc/self/mountinfo: the options with which procfs is mounted (proc(5): hidepid, subset)."""

import os

from prom_probe.sources.mountinfo import parse_mounts
from prom_probe.sources.text import Odd, ignore


def parse_proc_options(data: bytes, procfs: str, odd: Odd = ignore) -> dict[str, str]:
    """The options of the newest procfs mount at `procfs`; empty where it is not a mount point."""
    options: dict[str, str] = {}
    for mount in parse_mounts(data, odd):
        if mount.fstype == b"proc" and os.fsdecode(mount.point) == procfs:
            pairs = (os.fsdecode(option).partition("=") for option in mount.super_options.split(b","))
            options = {key: value for key, _, value in pairs}
    return options
