"""Passwords and tokens among the settings: what holds them, and how texts are shown without them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

SHOWN = "<secret>"

# The query parameters of a page whose values are shown. Those of all others may be tokens.
_HARMLESS = frozenset(
    ("collect[]", "debug", "exclude[]", "format", "include", "match[]", "module", "name[]", "target", "view")
)

_USER = re.compile(r"(?<=://)[^/?#\s]*@")
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;#\s]+)(=?)[^&;#\s]*")
_AUTHORITY = re.compile(r"(?<=://)(\[[^\]]*\]|[^/?#:\s]*):(?![0-9]{1,5}(?:[/?#\s]|$))[^/?#\s]*")


class Secret:
    """A text that is shown as `<secret>`, however it is written. msgspec refuses it without the hooks below."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for whom it is meant, never for an output."""
        return self._text

    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format(SHOWN, form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def reveal_hook(value: Any) -> str:
    """msgspec's `enc_hook`: to hand settings to another process of ours."""
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(type(value).__name__)


def conceal_hook(kind: type, value: Any) -> Secret:
    """msgspec's `dec_hook`: for what `reveal_hook` has encoded."""
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(kind.__name__)


def without_secrets(text: str) -> str:
    """A URL, or a text with one, without its user and the values of parameters that may be tokens."""
    text = _USER.sub(f"{SHOWN}@", text)
    address, mark, query = text.partition("?")
    return address + _PARAMETER.sub(_concealed, mark + query)


def without_any_secrets(text: str) -> str:
    """A text that should have been a URL: all that stands where it might be secret is left out."""
    head, at, tail = text.rpartition("@")
    if at:
        before = re.match(r"[^=]*?://|[^=]*=(?:[a-z]+:/*)?", head)
        text = f"{before[0] if before else ''}{SHOWN}@{tail}"
    text = _AUTHORITY.sub(rf"\1:{SHOWN}", text)
    address, mark, _ = text.partition("?")
    return address + (f"?{SHOWN}" if mark else "")


def _concealed(found: re.Match[str]) -> str:
    if unquote(found[1]) in _HARMLESS:
        return found[0]
    return f"{found[1]}={SHOWN}" if found[2] else SHOWN
