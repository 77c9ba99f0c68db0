"""How settings write which process trees to watch."""

import re

from prom_probe.model.watch import Watch, WatchKind

# "containers" is the default in a shared PID namespace; no setting can name it.
_WRITTEN_KINDS: tuple[WatchKind, ...] = ("pid", "comm", "cmdline", "cgroup")
WATCH_HELP = "NAME=pid:NUMBER, NAME=comm:REGEX, NAME=cmdline:REGEX or NAME=cgroup:PATH"


def parse_watch(text: str) -> Watch:
    """`name=pid:123`, `name=comm:REGEX`, `name=cmdline:REGEX` or `name=cgroup:PATH`."""
    name, equals, rest = _escaped(text, r"\x").partition("=")
    kind, colon, value = rest.partition(":")
    known: WatchKind | None = next((k for k in _WRITTEN_KINDS if k == kind), None)
    if not (name and equals and colon and value) or known is None:
        raise ValueError(f"not {WATCH_HELP}: {text!r}")
    if kind == "pid" and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value)):
        raise ValueError(f"not a PID: {value!r} in {text!r}")
    if kind in ("comm", "cmdline"):
        value = _escaped(text, r"\\x").partition("=")[2].partition(":")[2]
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {value!r} in {text!r}: {error}") from None
    return Watch(name, known, value)


def _escaped(text: str, mark: str) -> str:
    """Bytes that are not UTF-8, as in the names that are shown: `mark` and two digits."""
    return re.sub("[\udc80-\udcff]", lambda match: f"{mark}{ord(match[0]) - 0xDC00:02x}", text)
