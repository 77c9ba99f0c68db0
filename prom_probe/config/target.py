"""Which pages of metrics to scrape."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from prom_probe.config.secret import Secret, without_any_secrets, without_secrets
from prom_probe.config.values import parse_count

_MAX_SAMPLES = 1_000_000
URL_HELP = "NAME=http://HOST:PORT/PAGE, NAME=https://… or NAME=unix:PATH[:/PAGE]"
_URL = re.compile(
    r"https?://(?:[^/?#@\s]*@)?(?:\[[0-9a-fA-F:.%]+\]|[^:/?#@\[\]\s]+)(?::([0-9]{1,5}))?(?:[/?][^\s#]*)?|unix:[^\s:].*"
)
_HOST = re.compile(r"(https?)://(\[[^\]]*\]|[^:/?#]*)(?::([0-9]+))?")
_USER = re.compile(r"(https?://)([^/?#@]*)@(.*)", re.DOTALL)


class ScrapeTarget(NamedTuple):
    """A page of metrics to scrape: the `job` label that its series get, and its URL to be shown and to be used."""

    name: str
    url: str  # without secrets
    whole_url: Secret

    def __str__(self) -> str:
        return f"{self.name}={self.url}"

    @property
    def endpoint(self) -> str:
        """The URL without its user. Its parameters may be secret."""
        found = _USER.fullmatch(self.whole_url.reveal())
        return found[1] + found[3] if found is not None else self.whole_url.reveal()

    @property
    def instance(self) -> str:
        """Its label `instance`: `HOST:PORT`, or the socket's path."""
        url = self.endpoint
        found = _HOST.match(url)
        if found is None:
            path, colon, _ = url.removeprefix("unix:").rpartition(":/")
            return path if colon and path else url.removeprefix("unix:")
        return f"{found[2]}:{int(found[3] or (443 if found[1] == 'https' else 80))}"

    @property
    def authorization(self) -> Secret | None:
        """The Authorization header for the user and password of the URL, which are percent-encoded there."""
        found = _USER.fullmatch(self.whole_url.reveal())
        if found is None:
            return None
        user, _, password = found[2].partition(":")
        return Secret(f"Basic {b64encode(f'{unquote(user)}:{unquote(password)}'.encode()).decode()}")


def parse_target(text: str) -> ScrapeTarget:
    """`name=http://HOST:PORT/PAGE`, the same with https, or `name=unix:PATH[:/PAGE]`."""
    name, equals, url = text.partition("=")
    match = _URL.fullmatch(url)
    if not (name and equals) or "://" in name or match is None or not 0 < int(match[1] or 1) < 65536:
        raise ValueError(f"not {URL_HELP}: {without_any_secrets(text)!r}")
    return ScrapeTarget(name, without_secrets(url), Secret(url))


def check_targets(targets: Sequence[ScrapeTarget]) -> None:
    """Raise ValueError if two targets share a name."""
    names = [target.name for target in targets]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"two targets are called {name!r}; each needs a name of its own")


def parse_sample_limit(text: str) -> int:
    """How many samples a page may have. The ring is sized by it, hence the bound."""
    number = parse_count(text)
    if number > _MAX_SAMPLES:
        raise ValueError(f"at most {_MAX_SAMPLES} are allowed, not {text!r}")
    return number
