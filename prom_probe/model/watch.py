"""What is watched: a process tree's name and how its processes are found."""

from typing import Literal, NamedTuple

WatchKind = Literal["pid", "comm", "cmdline", "cgroup", "containers"]


class Watch(NamedTuple):
    """A tree to watch: `name` is its label; "containers" makes a tree of each container and needs no name or value.

    `value`: a PID; a regex that matches the whole command name (the kernel keeps 15 bytes of it) or the whole command
    line, its arguments joined by spaces; a cgroup's path, with or without the mount point.
    A process belongs to the first watch that it, or its parent's tree, matches, and stays there while it lives.
    """

    name: str
    kind: WatchKind
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.kind}:{self.value}"
