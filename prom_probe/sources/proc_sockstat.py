"""/proc/net/sockstat, sockstat6: the sockets of our network namespace (proc_pid_net(5))."""

import re
from typing import NamedTuple

from prom_probe.sources.errors import ParseError

SOURCE = "/proc/net/sockstat"
SOURCE6 = "/proc/net/sockstat6"

_PATTERN = re.compile(
    rb"sockets: used (\d+)\nTCP: inuse (\d+) orphan (\d+) tw (\d+) alloc (\d+) mem (\d+)\nUDP: inuse (\d+) mem (\d+)\n"
)
_PATTERN6 = re.compile(rb"TCP6: inuse (\d+)\nUDP6: inuse (\d+)\n")


class ProcSockstat(NamedTuple):
    used: int  # of all kinds
    tcp_in_use: int  # IPv4
    tcp_orphans: int
    tcp_time_wait: int
    tcp_allocated: int
    tcp_memory: int  # pages
    udp_in_use: int  # IPv4
    udp_memory: int  # pages


def parse_proc_sockstat(data: bytes) -> ProcSockstat:
    """Raises ParseError."""
    match = _PATTERN.match(data)
    try:
        if match is None:
            raise ParseError(SOURCE, data)
        return ProcSockstat(*map(int, match.groups()))
    except ValueError:  # more digits than Python reads
        raise ParseError(SOURCE, data) from None


def parse_proc_sockstat6(data: bytes) -> tuple[int, int]:
    """IPv6's sockets in use: TCP, UDP. Raises ParseError."""
    match = _PATTERN6.match(data)
    try:
        if match is None:
            raise ParseError(SOURCE6, data)
        return int(match[1]), int(match[2])
    except ValueError:
        raise ParseError(SOURCE6, data) from None
