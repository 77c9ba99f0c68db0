"""How an HTTP client of ours proves who it is, and whom it trusts, in the configuration file: in Prometheus's form."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from prom_probe.config.secret import Secret

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class ConfigSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of the file; an unknown key is a fault."""


class BasicAuth(ConfigSection, frozen=True, kw_only=True):
    """A user and a password, each perhaps in a file that is read anew."""

    username: str = ""
    username_file: str = ""
    password: Secret | None = None
    password_file: str = ""

    def __post_init__(self) -> None:
        _either(self, ("username", "username_file"), ("password", "password_file"))


class Authorization(ConfigSection, frozen=True, kw_only=True):
    """An Authorization header: its scheme, and what follows it."""

    type: str = "Bearer"
    credentials: Secret | None = None
    credentials_file: str = ""

    def __post_init__(self) -> None:
        _either(self, ("credentials", "credentials_file"))


class TlsConfig(ConfigSection, frozen=True, kw_only=True):
    """How an https server is recognised, and who we are."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file go together")


def check_headers(headers: Mapping[str, Secret], reserved: Collection[str]) -> None:
    """Raise ValueError for what is no header, or one of those that a request has of itself."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or any(c in value.reveal() for c in "\r\n\0"):
            raise ValueError(f"not a header: {name!r}")
        if name.lower() in reserved:
            raise ValueError(f"the header {name!r} cannot be replaced")


def check_one_authorization(basic_auth: BasicAuth | None, authorization: Authorization | None) -> None:
    """Raise ValueError if both are given."""
    if basic_auth is not None and authorization is not None:
        raise ValueError("basic_auth and authorization exclude each other")


def validation_fault(error: msgspec.ValidationError) -> str:
    """What msgspec says of a section, with the key at fault first."""
    reason, _, path = str(error).partition(" - at ")
    return f"{path.strip('`').removeprefix('$').lstrip('.')}: {reason}".removeprefix(": ")


def _either(section: msgspec.Struct, *pairs: tuple[str, str]) -> None:
    for one, other in pairs:
        if getattr(section, one) and getattr(section, other):
            raise ValueError(f"{one} and {other} exclude each other")
