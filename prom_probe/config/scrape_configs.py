"""Which pages to scrape: the section `scrape_configs` of the configuration file, in Prometheus's form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

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
from prom_probe.config.secret import SHOWN, Secret, conceal_hook
from prom_probe.config.units import parse_interval, parse_size
from prom_probe.model.relabel import RelabelRule

# What a request says of itself: no header of a user's replaces it.
_RESERVED = frozenset(
    (
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "host",
        "transfer-encoding",
        "user-agent",
        "x-prometheus-scrape-timeout-seconds",
    )
)

# HOST:PORT, HOST, [V6]:PORT.
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^:/?#@\[\]\s]+)(?::([0-9]{1,5}))?")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# Labels of static_configs that say how a target is scraped, and are no labels of its series.
SCHEME, PATH = "__scheme__", "__metrics_path__"
INTERVAL, TIMEOUT = "__scrape_interval__", "__scrape_timeout__"
PARAMETER = "__param_"

# Keys of Prometheus's that mean something which is not here, and what to do instead.
_INSTEAD = {
    "relabel_configs": "give the labels in static_configs",
    "proxy_url": "targets are scraped directly",
    "proxy_from_environment": "targets are scraped directly",
    "oauth2": "give authorization",
    "bearer_token": "give authorization: credentials",
    "bearer_token_file": "give authorization: credentials_file",
    "convert_classic_histograms_to_nhcb": "histograms are stored as classic ones",
    "track_timestamps_staleness": "a series with timestamps ends as its target says",
}
_LIMITS = ("sample_limit", "label_limit", "label_name_length_limit", "label_value_length_limit", "target_limit")

_DISCOVERY = "only static_configs"


class StaticConfig(ConfigSection, frozen=True, kw_only=True):
    """Targets that have these labels in common."""

    targets: tuple[str, ...]
    labels: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for target in self.targets:
            found = _ADDRESS.fullmatch(target)
            if found is None or not 0 < int(found[1] or 1) < 65536:
                raise ValueError(f"not HOST:PORT: {target!r}; the rest of the URL is scheme and metrics_path")
        for name, value in self.labels.items():
            if not _LABEL_NAME.fullmatch(name) or name == "__name__":
                raise ValueError(f"not a label's name: {name!r}")
            if name == SCHEME and value not in ("http", "https"):
                raise ValueError(f"{name} is http or https, not {value!r}")
            if name == PATH and not value.startswith("/"):
                raise ValueError(f"{name} begins with a slash, unlike {value!r}")
            if name in (INTERVAL, TIMEOUT):
                parse_interval(value)


class HttpHeader(ConfigSection, frozen=True, kw_only=True):
    """The values of a header, one line each; files are read anew."""

    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    files: tuple[str, ...] = ()


class ScrapeConfig(ConfigSection, frozen=True, kw_only=True):
    """A job: its targets, and how they are scraped. A limit of 0 is none but for those of the worker."""

    job_name: str
    static_configs: tuple[StaticConfig, ...] = ()
    scheme: Literal["http", "https"] = "http"
    metrics_path: str = "/metrics"
    params: dict[str, tuple[Secret, ...]] = msgspec.field(default_factory=dict)
    scrape_interval: str = ""
    scrape_timeout: str = ""
    honor_labels: bool = False
    honor_timestamps: bool = True
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig = TlsConfig()
    http_headers: dict[str, HttpHeader] = msgspec.field(default_factory=dict)
    follow_redirects: bool = True
    sample_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    body_size_limit: str = "0"
    target_limit: int = 0
    metric_relabel_configs: tuple[RelabelRule, ...] = ()
    # Taken for the sake of files written for Prometheus: they change nothing here.
    enable_http2: bool = True
    enable_compression: bool = True
    scrape_protocols: tuple[str, ...] = ()
    fallback_scrape_protocol: str = ""
    scrape_native_histograms: bool = False
    always_scrape_classic_histograms: bool = False
    keep_dropped_targets: int = 0
    native_histogram_bucket_limit: int = 0
    metric_name_validation_scheme: str = ""
    metric_name_escaping_scheme: str = ""

    def __post_init__(self) -> None:
        if not self.job_name:
            raise ValueError("job_name is empty")
        if not self.metrics_path.startswith("/"):
            raise ValueError(f"metrics_path: begins with a slash, unlike {self.metrics_path!r}")
        for key, text in (("scrape_interval", self.scrape_interval), ("scrape_timeout", self.scrape_timeout)):
            _check(key, parse_interval, text or "1s")
        check_one_authorization(self.basic_auth, self.authorization)
        check_headers({name: Secret("") for name in self.http_headers}, _RESERVED)
        for name, header in self.http_headers.items():
            check_headers({name: Secret("".join(header.values))}, ())
            for secret in header.secrets:
                check_headers({name: secret}, ())
        for key in _LIMITS:
            if getattr(self, key) < 0:
                raise ValueError(f"{key}: below 0")
        _check("body_size_limit", _parse_bytes, self.body_size_limit)
        count = sum(len(group.targets) for group in self.static_configs)
        if 0 < self.target_limit < count:
            raise ValueError(f"target_limit: {count} targets, more than {self.target_limit}")

    @property
    def body_bytes(self) -> int:
        """`body_size_limit` in bytes; 0 for none."""
        return _parse_bytes(self.body_size_limit)

    def __str__(self) -> str:
        """What is not as by default, as JSON, without secrets."""
        return msgspec.json.encode(self, enc_hook=lambda value: SHOWN).decode()


def parse_scrape_config(text: str) -> ScrapeConfig:
    """A job as JSON, which the configuration file is read as. Raises ValueError with the key at fault."""
    written = msgspec.json.decode(text)
    for key in written if isinstance(written, dict) else ():
        instead = _DISCOVERY if key.endswith("_sd_configs") else _INSTEAD.get(key)
        if instead is not None:
            raise ValueError(f"{key}: not supported here: {instead}")
    try:
        return msgspec.convert(_with_texts(written), ScrapeConfig, dec_hook=conceal_hook)
    except msgspec.ValidationError as error:
        raise ValueError(validation_fault(error)) from None


def check_scrape_configs(configs: Sequence[ScrapeConfig]) -> None:
    """Raise ValueError if two jobs share a name."""
    names = [config.job_name for config in configs]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"two jobs are called {name!r}; each needs a name of its own")


def _check(key: str, parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _parse_bytes(text: str) -> int:
    return 0 if text == "0" else parse_size(text)


# Where a text is meant, whatever YAML takes it for.
_TEXTS = frozenset(("targets", "labels", "params", "values", "secrets", "body_size_limit", "username", "password"))


def _with_texts(value: Any, *, inside: bool = False) -> Any:
    """The section with texts where numbers and switches stand for one: `labels: {shard: 1}`."""
    if isinstance(value, dict):
        return {key: _with_texts(item, inside=inside or key in _TEXTS) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_texts(item, inside=inside) for item in value]
    return msgspec.json.encode(value).decode() if inside and isinstance(value, int | float) else value
