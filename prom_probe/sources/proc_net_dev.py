"""/proc/net/dev: what each network device of our network namespace received and sent (proc_pid_net(5))."""

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


def parse_proc_net_dev(data: bytes, odd: Odd = ignore) -> dict[str, list[int]]:
    """Each device's numbers in the order of FIELDS. Raises ParseError if there is nothing like a row of it."""
    devices: dict[str, list[int]] = {}
    header = False
    for row in rows(data):
        if row.startswith(_HEADER):
            header = True
            continue
        name, _, rest = row.rpartition(b":")  # only the last colon ends the name: an alias's name contains one
        try:
            numbers = list(map(int, _pick(rest.split())))
            if not name or min(numbers) < 0 or max(numbers) > MOST:
                raise ValueError(row)
        except (ValueError, IndexError):
            odd(row)
            continue
        devices.setdefault(name.strip(b" ").decode("utf-8", "backslashreplace"), numbers)
    if not header and not devices:
        raise ParseError(SOURCE, data)
    return devices
