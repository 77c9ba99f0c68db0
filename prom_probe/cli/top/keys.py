"""The keys of `top`, and what they do."""

from __future__ import annotations

from typing import NamedTuple

from prom_probe.cli.top.columns import COLUMNS


class TopKey(NamedTuple):
    """`key` as textual calls it, `shown` as people do. `action` is an `action_…` of the app with its arguments."""

    key: str
    shown: str
    action: str
    does: str


KEYS = (
    TopKey("left", "←", "step(-1)", "a second back"),
    TopKey("right", "→", "step(1)", "a second on"),
    TopKey("shift+left", "Shift ←", "step(-10)", "ten seconds back"),
    TopKey("shift+right", "Shift →", "step(10)", "ten seconds on"),
    TopKey("t", "t", "ask_time", "go to a time: 14:03:07, -5m, RFC 3339 or Unix seconds"),
    TopKey("space", "Space", "live", "live; once more: stop here"),
    TopKey("up", "↑", "cursor(-1)", "a process up"),
    TopKey("down", "↓", "cursor(1)", "a process down"),
    TopKey("pageup", "PgUp", "page(-1)", "a page up"),
    TopKey("pagedown", "PgDn", "page(1)", "a page down"),
    TopKey("enter", "Enter", "fold", "fold the process's children, or show them"),
    TopKey("f", "f", "flat", "as a tree, or flat"),
    TopKey("g", "g", "graph", "graphs of memory, or of CPU"),
    TopKey("slash", "/", "ask_filter", "only processes with this in their name or command line, or with this PID"),
    TopKey("escape", "Esc", "no_filter", "all processes again"),
    TopKey("w", "w", "next_tree", "the next tree that is watched"),
    *(
        TopKey(column.key, column.key, f"sort('{column.name}')", f"sort by {column.title}; once more: the other way")
        for column in COLUMNS
    ),
    TopKey("question_mark", "?", "keys", "these keys"),
    TopKey("q", "q", "quit", "quit"),
)

HINT = "← → 1 s  Shift 10 s  t time  Space live  / filter  Enter fold  g graph  m c n sort  ? keys  q quit"
