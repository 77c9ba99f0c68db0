"""/proc/meminfo: the machine's memory (proc_meminfo(5))."""

from collections.abc import Sequence

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/meminfo"


def parse_proc_meminfo(data: bytes, keys: Sequence[bytes]) -> list[int | None]:
    """The values of `keys`, KiB, in the order of `keys`; None where the kernel has none. Raises ParseError."""
    values: list[int | None] = []
    try:
        for key in keys:
            at = data.find(b"\n%b:" % key) + 1  # find gives -1 for the first line's key, and for none
            if not data.startswith(b"%b:" % key, at):
                values.append(None)
                continue
            at += len(key) + 1
            values.append(int(data[at : data.index(b"\n", at)].split(None, 1)[0]))
    except (ValueError, IndexError):
        raise ParseError(SOURCE, data) from None
    return values
