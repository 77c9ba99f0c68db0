"""How settings write which process trees to watch."""

import re

from prom_probe.model.watch import Watch, WatchKind

# "containers" is the default in a shared PID namespace; no setting can name it.
_WRITTEN_KINDS: tuple[WatchKind, ...] = ("pid", "comm", "cmdline", "cgroup")
WATCH_HELP = "NAME=pid:NUMBER, NAME=comm:REGEX, NAME=cmdline:REGEX or NAME=cgroup:PATH"


def parse_watch(text: str) -> Watch:
    """`name=pid:123`, `name=comm:REGEX`, `name=cmdline:REGEX` or `name=cgroup:PATH`."""
    name, equals, rest = text.partition("=")
    kind, colon, value = rest.partition(":")
    known: WatchKind | None = next((k for k in _WRITTEN_KINDS if k == kind), None)
    if not (name and equals and colon and value) or known is None:
        raise ValueError(f"not {WATCH_HELP}: {text!r}")
    if kind == "pid" and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value)):
        raise ValueError(f"not a PID: {value!r} in {text!r}")
    if kind in ("comm", "cmdline"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {value!r} in {text!r}: {error}") from None
    return Watch(name, known, value)
