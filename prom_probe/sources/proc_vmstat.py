"""/proc/vmstat: what the machine's memory management has done since boot (proc_vmstat(5))."""

from collections.abc import Sequence

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/vmstat"


def parse_proc_vmstat(data: bytes, keys: Sequence[bytes]) -> list[int | None]:
    """The values of `keys` ("pgpgin"), in their order; None where the kernel has none. Raises ParseError."""
    if not data.startswith(b"nr_"):
        raise ParseError(SOURCE, data)
    values: list[int | None] = []
    for key in keys:
        at = data.find(b"\n%b " % key)
        if at < 0:
            values.append(None)
            continue
        start = at + len(key) + 2
        try:
            values.append(int(data[start : data.index(b"\n", start)]))
        except ValueError:
            raise ParseError(SOURCE, data[at + 1 : start + 40]) from None
    return values
