"""/proc/net/sockstat, sockstat6: the sockets of our network namespace (proc_pid_net(5))."""

from typing import NamedTuple

from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import Odd, fields, ignore, number, rows

SOURCE = "/proc/net/sockstat"
SOURCE6 = "/proc/net/sockstat6"

_TCP6, _UDP6 = (b"TCP6:", b"inuse"), (b"UDP6:", b"inuse")


class ProcSockstat(NamedTuple):
    """None for what the kernel does not say, or says with a row that is odd."""

    used: int | None  # of all kinds
    tcp_in_use: int | None  # IPv4
    tcp_orphans: int | None
    tcp_time_wait: int | None
    tcp_allocated: int | None
    tcp_memory: int | None  # pages
    udp_in_use: int | None  # IPv4
    udp_memory: int | None  # pages


_COUNTS = (
    (b"sockets:", b"used"),
    (b"TCP:", b"inuse"),
    (b"TCP:", b"orphan"),
    (b"TCP:", b"tw"),
    (b"TCP:", b"alloc"),
    (b"TCP:", b"mem"),
    (b"UDP:", b"inuse"),
    (b"UDP:", b"mem"),
)


def parse_proc_sockstat(data: bytes, odd: Odd = ignore) -> ProcSockstat:
    """Raises ParseError if no row is good."""
    found = _parse(data, SOURCE, odd)
    return ProcSockstat(*(found.get(count) for count in _COUNTS))


def parse_proc_sockstat6(data: bytes, odd: Odd = ignore) -> tuple[int | None, int | None]:
    """IPv6's sockets in use: TCP, UDP. Raises ParseError if no row is good."""
    found = _parse(data, SOURCE6, odd)
    return found.get(_TCP6), found.get(_UDP6)


def _parse(data: bytes, source: str, odd: Odd) -> dict[tuple[bytes, bytes], int]:
    """By protocol and key."""
    found: dict[tuple[bytes, bytes], int] = {}
    for row in rows(data):
        protocol, *words = fields(row) or [b""]
        try:
            counts = dict(zip(words[::2], map(number, words[1::2]), strict=True))
            if not counts:
                raise ValueError(row)
        except ValueError:
            odd(row)
            continue
        for key, count in counts.items():
            found.setdefault((protocol, key), count)
    if not found:
        raise ParseError(source, data)
    return found
