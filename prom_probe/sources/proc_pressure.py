"""/proc/pressure/*, *.pressure: how long tasks waited for a resource (Documentation/accounting/psi.rst)."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/pressure"


def parse_pressure(data: bytes) -> tuple[int, int | None]:
    """(some, full) totals, microseconds: some task waited, all did. Old kernels have no full for the CPU.

    Raises ParseError.
    """
    totals = []
    try:
        for line, kind in zip(data.splitlines(), (b"some ", b"full "), strict=False):
            if not line.startswith(kind):
                raise ParseError(SOURCE, data)
            totals.append(int(line[line.rindex(b"total=") + 6 :]))
    except ValueError:
        raise ParseError(SOURCE, data) from None
    if not totals:
        raise ParseError(SOURCE, data)
    return totals[0], totals[1] if len(totals) > 1 else None
