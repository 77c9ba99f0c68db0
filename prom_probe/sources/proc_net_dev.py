"""/proc/net/dev: what each network device of our network namespace received and sent (proc_pid_net(5))."""

from operator import itemgetter

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/net/dev"
_COLON = ord(":")

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
_pick = itemgetter(1, 2, 3, 4, 9, 10, 11, 12)  # after the name


def parse_proc_net_dev(data: bytes) -> dict[str, list[int]]:
    """Each device's numbers in the order of FIELDS. Raises ParseError."""
    if not data.startswith(b"Inter-|"):
        raise ParseError(SOURCE, data)
    devices = {}
    for line in data.splitlines()[2:]:
        fields = line.split()
        try:
            name = fields[0]
            if name[-1] != _COLON:  # only the last colon ends the name: an alias's name contains one
                raise ParseError(SOURCE, line)
            devices[name[:-1].decode("utf-8", "backslashreplace")] = list(map(int, _pick(fields)))
        except (ValueError, IndexError):
            raise ParseError(SOURCE, line) from None
    return devices
