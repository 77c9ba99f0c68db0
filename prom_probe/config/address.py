"""Addresses to listen on."""

import re
from typing import NamedTuple


class Address(NamedTuple):
    """Where to listen: `host` and `port`, or a Unix socket's `path`.

    An empty host means every address of the machine, port 0 any free port. `replaceable`: nobody has asked for it, so
    another port will do where this one is taken.
    """

    host: str
    port: int
    path: str = ""
    replaceable: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return bool(self.path) or self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `:PORT`, `[V6]:PORT` or `unix:PATH`."""
    if text.startswith("unix:") and len(text) > 5:
        return Address("", 0, text[5:])
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]/\s]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"not HOST:PORT, :PORT or unix:PATH: {text!r}")
    return Address(match[1] or match[2] or "", int(match[3]))
