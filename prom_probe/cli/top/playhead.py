"""Where in time one is: live, or at a moment."""

from __future__ import annotations

from typing import NamedTuple


class Playhead(NamedTuple):
    """`moment`: Unix seconds; None for the newest there is."""

    moment: float | None = None

    @property
    def is_live(self) -> bool:
        return self.moment is None

    def stepped(self, seconds: float, newest_s: float) -> Playhead:
        """So many seconds on or back; after the newest moment, `newest_s`, comes live."""
        moment = (newest_s if self.moment is None else self.moment) + seconds
        return LIVE if moment > newest_s else Playhead(moment)

    def toggled(self, shown_s: float) -> Playhead:
        """Live; or, if it is that already, stopped at what is shown."""
        return Playhead(shown_s) if self.is_live else LIVE


LIVE = Playhead()
