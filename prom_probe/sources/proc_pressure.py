"""/proc/pressure/*, *.pressure: how long tasks waited for a resource (Documentation/accounting/psi.rst)."""

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, ignore, number, rows

SOURCE = "/proc/pressure"


def parse_pressure(data: bytes, odd: Odd = ignore) -> tuple[int | None, int | None]:
    """Total microseconds in which some task waited, and in which all did (None where old kernels lack it, for the CPU).

    Raises ParseError if no row is good.
    """
    totals: dict[bytes, int] = {}
    for row in rows(data):
        kind, _, rest = row.partition(b" ")
        try:
            total = number(rest.partition(b"total=")[2].partition(b" ")[0])
        except ValueError:
            odd(row)
            continue
        totals.setdefault(kind, total)
    if not totals:
        raise ParseError(SOURCE, data)
    return totals.get(b"some"), totals.get(b"full")
