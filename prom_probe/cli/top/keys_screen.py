"""The list of all keys."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from prom_probe.cli.top.keys import KEYS


class KeysScreen(Screen[None]):
    """Any key that does not scroll leads back."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark,enter,space", "app.pop_screen", "back")]

    def compose(self) -> ComposeResult:
        lines = [f"{each.shown:>8}   {each.does}" for each in KEYS]
        with VerticalScroll():
            yield Static(Text("\n".join([*lines, "", "     Esc   back"])))
