"""Which requests a listener of the query API takes, by the Host and Origin that they name.

A browser lets any page send requests to us; Origin, which a page cannot change, tells which page it was. A page can
also give our address a name of its own (DNS rebinding) and is then of our origin; the Host header has that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from prom_probe.web.http.message import Request

_LOOPBACK_NAMES = frozenset(("localhost", "ip6-localhost", "[::1]"))
_ANY = "*"

# Nobody can register a name in these; one without a dot cannot be registered either.
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".svc", ".home.arpa")

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]*)(?::([0-9]{0,5}))?")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?:\.(?!$)|$)){4}")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def is_host(text: str) -> bool:
    """Whether it is a name or an address, with or without a port; empty is allowed."""
    return _HOST.fullmatch(text) is not None


class HostRules:
    """The rules. `allowed_hosts`: further names, `*` for any. `cors_origin`: origins whose pages may read answers."""

    def __init__(self, allowed_hosts: Iterable[str] = (), cors_origin: str | None = None) -> None:
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._cors = re.compile(cors_origin) if cors_origin else None

    def may_read(self, origin: str) -> bool:
        """Whether a page of this origin may read answers although it is not ours."""
        return bool(origin) and self._cors is not None and self._cors.fullmatch(origin) is not None

    def maybe_fault(self, request: Request, loopback: bool) -> str:
        """Why the request is refused, "" if it is not. `loopback`: the listener is on loopback only."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin", "")
        if host and not self._accepts(name := _name(host), loopback):
            return f"Host {host!r} is not allowed here; --api.allowed-host={name} allows it."
        if origin:
            if not self.may_read(origin) and not _same(origin, host):
                return f"Origin {origin!r} is not allowed here; --web.cors.origin adds origins."
        elif request.headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
            request.headers.get("sec-fetch-mode") == "navigate" and request.method in ("GET", "HEAD")
        ):
            return "A page of another origin is not allowed here."
        return ""

    def _accepts(self, name: str, loopback: bool) -> bool:
        if not is_host(name):
            return False
        if name in _LOOPBACK_NAMES or name in self._hosts or _ANY in self._hosts:
            return True
        if _IPV4.fullmatch(name):
            return not loopback or name.startswith("127.")
        # An address is no name that somebody could have given us.
        return not loopback and ("[" in name or "." not in name or name.endswith(_PRIVATE_DOMAINS))


def _name(host: str) -> str:
    """A Host's name or address, without port and final dot."""
    found = _HOST.fullmatch(host.lower())
    return found[1].removesuffix(".") if found is not None else host


def _same(origin: str, host: str) -> bool:
    """Whether the origin is that of a page from this Host."""
    scheme, _, place = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    ours = _with_port(host.lower(), port) if port is not None else None
    return port is not None and ours is not None and _with_port(place, port) == ours


def _with_port(host: str, default: str) -> tuple[str, str] | None:
    found = _HOST.fullmatch(host)
    return (found[1], found[2] or default) if found is not None and found[1] else None
