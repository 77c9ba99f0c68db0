"""Which pages of metrics to scrape."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from prom_probe.config.values import parse_count

_MAX_TARGETS = 50  # each has a thread
_MAX_SAMPLES = 1_000_000
URL_HELP = "NAME=http://HOST:PORT/PAGE, NAME=https://… or NAME=unix:PATH[:/PAGE]"
_URL = re.compile(r"https?://(?:\[[0-9a-fA-F:.%]+\]|[^:/?#@\[\]\s]+)(?::([0-9]{1,5}))?(?:[/?][^\s#]*)?|unix:[^\s:].*")


class ScrapeTarget(NamedTuple):
    """A page of metrics to scrape: its URL, and the `job` label that its series get."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}={self.url}"


def parse_target(text: str) -> ScrapeTarget:
    """`name=http://HOST:PORT/PAGE`, the same with https, or `name=unix:PATH[:/PAGE]`."""
    name, equals, url = text.partition("=")
    match = _URL.fullmatch(url)
    if not (name and equals) or match is None or not 0 < int(match[1] or 1) < 65536:
        raise ValueError(f"not {URL_HELP}: {text!r}")
    return ScrapeTarget(name, url)


def check_targets(targets: Sequence[ScrapeTarget]) -> None:
    """Raise ValueError if two targets share a name, or if there are too many."""
    if len(targets) > _MAX_TARGETS:
        raise ValueError(f"{len(targets)} targets, at most {_MAX_TARGETS} are allowed")
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
