"""/proc/net/dev: what each network device of our network namespace received and sent (proc_pid_net(5))."""

from collections.abc import Sequence
from operator import itemgetter

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import MOST, Odd, ignore, rows

SOURCE = "/proc/net/dev"

# The columns that are used, in this order.
FIELDS = (
    "receive_bytes",
    "receive_packets",
    "receive_errors",
    "receive_drop",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errors",
    "transmit_drop",
)
_pick = itemgetter(0, 1, 2, 3, 8, 9, 10, 11)  # of the numbers after the name
_HEADER = (b"Inter-|", b" face |")


def parse_proc_net_dev(data: bytes, odd: Odd = ignore) -> dict[str, Sequence[int | None]]:
    """Each device's numbers in the order of FIELDS, None for one out of range: some drivers count below zero.

    Raises ParseError if there is nothing like a row of it.
    """
    devices: dict[str, Sequence[int | None]] = {}
    header = False
    for row in rows(data):
        if row.startswith(_HEADER):
            header = True
            continue
        name, _, rest = row.rpartition(b":")  # only the last colon ends the name: an alias's name contains one
        try:
            numbers = list(map(int, _pick(rest.split())))
            if not name:
                raise ValueError(row)
        except (ValueError, IndexError):
            odd(row)
            continue
        known: Sequence[int | None] = numbers
        if min(numbers) < 0 or max(numbers) > MOST:
            odd(row)
            known = [number if 0 <= number <= MOST else None for number in numbers]
        devices.setdefault(name.strip(b" ").decode("utf-8", "backslashreplace"), known)
    if not header and not devices:
        raise ParseError(SOURCE, data)
    return devices
