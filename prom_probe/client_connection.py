"""An HTTP client's connection: made within a deadline, and whether it is still good when it was kept."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

# As the socket module has them: a family, and an address that begins with the IP address.
_Address: TypeAlias = tuple[int, tuple[Any, ...]]
_LookUp: TypeAlias = Callable[..., list[Any]]

_NAME_CHARS = 100


class HostConnector:
    """Connects to hosts by their names, whatever name servers and addresses do. Not thread-safe.

    The monotonic clock is that of the deadlines.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, look_up: _LookUp = socket.getaddrinfo) -> None:
        self._monotonic = monotonic
        self._look_up = look_up
        self._lookup: _Lookup | None = None  # one that had not ended in time
        self._good: _Address | None = None  # what was connected to last

    def connect(
        self, host: str, port: int, deadline_s: float, admit: Callable[[str], None] = lambda address: None
    ) -> socket.socket:
        """A connection to one of the host's addresses. Raises OSError, of which TimeoutError is one.

        Each address gets an equal part of the time that is left, the one that was good last time goes first. `admit` is
        given each IP address before it is used, and may raise.
        """
        addresses = self._addresses(host, port, deadline_s)
        addresses.sort(key=lambda one: one != self._good)
        refusal = OSError("no address")
        for number, (family, address) in enumerate(addresses):
            admit(str(address[0]))
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(self._left(deadline_s) / (len(addresses) - number))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                refusal = error
            else:
                self._good = family, address
                return sock
        raise refusal

    def _left(self, deadline_s: float) -> float:
        left_s = deadline_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def _addresses(self, host: str, port: int, deadline_s: float) -> list[_Address]:
        try:  # an IP address needs no name server
            return _addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        except ValueError:  # UnicodeError is one
            raise OSError(f"not a host name: {host[:_NAME_CHARS]!r}") from None
        except OSError:
            pass
        lookup, self._lookup = self._lookup, None
        if lookup is None:
            lookup = _Lookup(self._look_up, host, port)
        lookup.join(self._left(deadline_s))
        if lookup.is_alive():
            self._lookup = lookup
            raise TimeoutError
        if lookup.asked != (host, port):  # a late one, of another host
            return self._addresses(host, port, deadline_s)
        return lookup.result()


class _Lookup(threading.Thread):
    """Looks a name up: getaddrinfo knows no deadline."""

    def __init__(self, look_up: _LookUp, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self.asked = host, port
        self._look_up = look_up
        self._found: list[_Address] = []
        self._failure: OSError | None = None
        try:
            self.start()
        except RuntimeError as error:  # no more threads
            raise OSError(str(error)) from None

    def run(self) -> None:
        host, port = self.asked
        try:
            self._found = _addresses(self._look_up(host, port, type=socket.SOCK_STREAM))
        except ValueError:  # UnicodeError is one
            self._failure = OSError(f"not a host name: {host[:_NAME_CHARS]!r}")
        except OSError as error:
            self._failure = error

    def result(self) -> list[_Address]:
        """What was found. Raises OSError."""
        if self._failure is not None:
            raise self._failure
        return self._found


def _addresses(found: list[Any]) -> list[_Address]:
    return [(family, address) for family, _, _, _, address in found]


def is_readable(sock: socket.socket) -> bool:
    """Whether something has come, or the other end is closed."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def has_spoken(sock: socket.socket) -> bool:
    """Whether the peer has closed a kept connection, or has said something that is no answer to what is asked next."""
    if not is_readable(sock) or not hasattr(sock, "pending"):
        return is_readable(sock)
    import ssl  # it is an SSLSocket: what has come need not be data

    try:
        sock.settimeout(0)
        sock.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        pass
    return True
