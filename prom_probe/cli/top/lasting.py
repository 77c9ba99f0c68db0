"""A source that is opened again after it went away."""

from __future__ import annotations

from prom_probe.cli.client import ApiSource
from prom_probe.cli.source import Source, lasting_name, open_source

# A request that hangs must not keep one that comes back waiting.
_TIMEOUT_S = 10.0


class LastingSource:
    """What `text` names, by a name that means the same run tomorrow.

    A kept run is asked through its API while it runs, and then read from its directory. Raises as `open_source` does.
    """

    def __init__(self, text: str) -> None:
        self._name = lasting_name(text)
        self.open()

    def open(self) -> None:
        """Look where it is now."""
        source = open_source(self._name)
        self.source: Source = ApiSource(source.url, _TIMEOUT_S) if isinstance(source, ApiSource) else source

    def end(self) -> float | None:
        """The last moment of what is stored, if nothing is added to it any more."""
        return None if isinstance(self.source, ApiSource) else self.source.now_s()
