"""/proc/vmstat: what the machine's memory management has done since boot (proc_vmstat(5))."""

from collections.abc import Sequence

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, find_number, ignore

SOURCE = "/proc/vmstat"


def parse_proc_vmstat(data: bytes, keys: Sequence[bytes], odd: Odd = ignore) -> list[int | None]:
    """The values of `keys` ("pgpgin"), in their order; None where the kernel has none, or an odd one.

    Raises ParseError if no row is good.
    """
    values = [find_number(data, key + b" ", odd) for key in keys]
    if not any(value is not None for value in values):
        raise ParseError(SOURCE, data)
    return values
