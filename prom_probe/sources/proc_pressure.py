"""/proc/pressure/*, *.pressure: how long tasks waited for a resource (Documentation/accounting/psi.rst)."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/pressure"


def parse_pressure(data: bytes) -> tuple[int, int | None]:
    """Total microseconds in which some task waited, and in which all did (None where old kernels lack it, for the CPU).

    Raises ParseError.
    """
    some, _, full = data.partition(b"\n")
    try:
        if not some.startswith(b"some "):
            raise ParseError(SOURCE, data)
        total = int(some[some.rindex(b"total=") + 6 :])
        return total, int(full[full.rindex(b"total=") + 6 :]) if full else None
    except ValueError:
        raise ParseError(SOURCE, data) from None
