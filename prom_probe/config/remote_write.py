"""Where remote writes are sent: the section `remote_write` of the configuration file, in Prometheus's form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple
from zlib import crc32

import msgspec

from prom_probe.config.http_client import (
    Authorization,
    BasicAuth,
    ConfigSection,
    TlsConfig,
    check_headers,
    check_one_authorization,
    validation_fault,
)
from prom_probe.config.secret import Secret, conceal_hook, without_any_secrets, without_secrets
from prom_probe.config.selector import parse_selector
from prom_probe.config.units import parse_duration, parse_interval
from prom_probe.model.relabel import RelabelRule

URL_FORM = "http://HOST:PORT/PATH, https://… or unix:PATH:/PATH"

_URL = re.compile(
    r"https?://(?:[^/?#@\s]*@)?(?:\[[0-9a-fA-F:.%]+\]|[^:/?#@\[\]\s]+)(?::[0-9]{1,5})?(?:[/?][^\s#]*)?|unix:[^\s:]+:/\S*"
)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# What a request says of itself and of its connection: no header of a user's replaces it.
_RESERVED = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
        "x-prometheus-remote-write-version",
    )
)

MessageName = Literal["prometheus.WriteRequest", "io.prometheus.write.v2.Request"]
V1: MessageName = "prometheus.WriteRequest"
V2: MessageName = "io.prometheus.write.v2.Request"


class QueueConfig(ConfigSection, frozen=True, kw_only=True):
    """How fast it goes. There is no queue and one request at a time: some keys of Prometheus's change nothing."""

    max_samples_per_send: int = 2000
    min_backoff: str = "30ms"
    max_backoff: str = "5s"
    # Taken for the sake of files written for Prometheus.
    capacity: int = 0
    max_shards: int = 1
    min_shards: int = 1
    batch_send_deadline: str = "5s"
    retry_on_http_429: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.max_samples_per_send <= 100_000:
            raise ValueError("max_samples_per_send must be 1 to 100000")
        if parse_duration(self.max_backoff) < parse_interval(self.min_backoff):
            raise ValueError("max_backoff is below min_backoff")


class MetadataConfig(ConfigSection, frozen=True, kw_only=True):
    """Whether and how often the metrics' types and help texts are sent."""

    send: bool = True
    send_interval: str = "1m"

    def __post_init__(self) -> None:
        parse_interval(self.send_interval)


class SendRules(ConfigSection, frozen=True, kw_only=True):
    """What is sent; what is not given here is as --remote-write.interval and --remote-write.match say."""

    interval: str = ""
    match: tuple[str, ...] | None = None
    newest_first: bool = False  # after an outage; for receivers that take samples out of order

    def __post_init__(self) -> None:
        if self.interval:
            parse_interval(self.interval)
        for selector in self.match or ():
            parse_selector(selector)


class Destination(ConfigSection, frozen=True, kw_only=True):
    """A receiver, how to reach it, and what it is sent."""

    url: Secret
    name: str = ""
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig = TlsConfig()
    remote_timeout: str = "30s"
    write_relabel_configs: tuple[RelabelRule, ...] = ()
    queue_config: QueueConfig = QueueConfig()
    metadata_config: MetadataConfig = MetadataConfig()
    protobuf_message: MessageName = V1
    send: SendRules = SendRules()

    def __post_init__(self) -> None:
        url = self.url.reveal()
        if not _URL.fullmatch(url):
            raise ValueError(f"not {URL_FORM}: {without_any_secrets(url)!r}")
        if parse_duration(self.remote_timeout) <= 0:
            raise ValueError("remote_timeout must be above 0")
        check_one_authorization(self.basic_auth, self.authorization)
        check_headers(self.headers, _RESERVED)

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret in it."""
        return without_secrets(self.url.reveal())

    @property
    def label(self) -> str:
        """Its name in metrics and logs; one without a name is told by its URL."""
        return self.name or f"{crc32(self.url.reveal().encode()):08x}"

    def __str__(self) -> str:
        return f"{self.name}={self.shown_url}" if self.name else self.shown_url


def parse_destination(text: str) -> Destination:
    """A destination as JSON, which the configuration file is read as. Raises ValueError with the key at fault."""
    try:
        return msgspec.json.decode(text, type=Destination, dec_hook=conceal_hook)
    except msgspec.ValidationError as error:
        raise ValueError(validation_fault(error)) from None


def parse_url(text: str) -> Destination:
    """A destination of which only the URL is given."""
    return Destination(url=Secret(text))


def check_destinations(destinations: Sequence[Destination]) -> None:
    """Raise ValueError if two have the same name: their cursors and metrics could not be told apart."""
    labels = [destination.label for destination in destinations]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise ValueError(f"two destinations are called {label!r}; each needs a name of its own")


class ExternalLabel(NamedTuple):
    """A label of everything that is sent, unless a series has one of its own with that name."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def parse_external_label(text: str) -> ExternalLabel:
    """`name=value`."""
    name, equals, value = text.partition("=")
    if not equals or not value or not _LABEL_NAME.fullmatch(name) or name == "__name__":
        raise ValueError(f"not NAME=VALUE: {text!r}")
    return ExternalLabel(name, value)


def checked_selector(text: str) -> str:
    """A selector's text, if it is one."""
    parse_selector(text)
    return text
