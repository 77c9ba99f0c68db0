"""/proc/net/dev: what each network device of our network namespace received and sent (proc_pid_net(5))."""

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/net/dev"

# Columns after the name, as the two header lines have them.
RECEIVE_BYTES, RECEIVE_PACKETS, RECEIVE_ERRORS, RECEIVE_DROP = 0, 1, 2, 3
TRANSMIT_BYTES, TRANSMIT_PACKETS, TRANSMIT_ERRORS, TRANSMIT_DROP = 8, 9, 10, 11


def parse_proc_net_dev(data: bytes) -> list[tuple[str, list[bytes]]]:
    """(device, its sixteen columns as text) for each device, in the file's order. Raises ParseError."""
    devices = []
    for line in data.splitlines()[2:]:
        name, colon, rest = line.rpartition(b":")  # the last: an alias's name holds one
        fields = rest.split()
        if not colon or len(fields) < 16:
            raise ParseError(SOURCE, line)
        devices.append((name.strip().decode("utf-8", "backslashreplace"), fields))
    return devices
