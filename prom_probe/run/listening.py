"""Listening sockets. They are bound before the forks: a port in use is one line, and no crash closes them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import NamedTuple

from prom_probe.config.address import Address
from prom_probe.config.error import ConfigError
from prom_probe.log import Log

_BACKLOG = 256

# What no other address would change.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class ListeningSocket(NamedTuple):
    """A bound, listening socket, the address of the settings, and whether it serves the query API."""

    sock: socket.socket
    address: Address
    api: bool

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        if self.address.path:
            return f"unix:{self.address.path}"
        host = self.address.host
        host = "localhost" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.sock.getsockname()[1]}"


def listen(address: Address, api: bool) -> ListeningSocket:
    """Bind and listen. ConfigError with the address and the reason; OSError where nothing more can be had."""
    try:
        sock = _unix(address.path) if address.path else _tcp(address)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigError(f"cannot listen on {address}: {reason}", 1) from None
    sock.setblocking(False)
    return ListeningSocket(sock, address, api)


def listen_somehow(address: Address, api: bool, log: Log) -> list[ListeningSocket]:
    """The same for a COMMAND, which a default address must not keep from running.

    Any free port will do where that one is taken; without any, nothing is served.
    """
    try:
        return [listen(address, api)]
    except ConfigError as error:
        if not address.replaceable:
            raise
        reason = str(error)
    try:
        listener = listen(address._replace(port=0), api)
    except ConfigError:
        log("error", f"{reason}: not served")
        return []
    log("warn", f"{reason}: a free port is used", url=listener.url)
    return [listener]


def close(listener: ListeningSocket) -> None:
    """Close it and remove a Unix socket's file."""
    listener.sock.close()
    if listener.address.path:
        try:
            os.unlink(listener.address.path)
        except OSError:
            pass


def _tcp(address: Address) -> socket.socket:
    sock = _bound(address)
    # Connections inherit it. Without it, the end of an answer sent in pieces waits 40 ms for an acknowledgement.
    # asyncio sets it only for sockets that name their protocol; ours do not.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _bound(address: Address) -> socket.socket:
    host, port = address.host, address.port
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host or "0.0.0.0", port), family=family, backlog=_BACKLOG)


def _unix(path: str) -> socket.socket:
    """A socket that only our user may connect to. The file of a process that is gone is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode) and sock.connect_ex(path):
            os.unlink(path)
        sock.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except FileNotFoundError:
        pass
    mask = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(mask)
    sock.listen(_BACKLOG)
    return sock
