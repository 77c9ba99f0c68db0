"""The application: what the keys change, when a moment is read, and where it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Static

from prom_probe.cli.clock import parse_time
from prom_probe.cli.error import ClientError
from prom_probe.cli.top import header
from prom_probe.cli.top.arrange import Order, arrange
from prom_probe.cli.top.asker import Asker
from prom_probe.cli.top.keys import HINT, KEYS
from prom_probe.cli.top.keys_screen import KeysScreen
from prom_probe.cli.top.playhead import LIVE, Playhead
from prom_probe.cli.top.reader import LATE_S, MomentReader
from prom_probe.cli.top.reading import MomentReading, MomentRequest, NoReading
from prom_probe.cli.top.table import TopTable
from prom_probe.config.units import human_duration

# How often it is looked whether there is something to ask for, and how long after no answer that is.
_TICK_S = 0.1
_RETRY_S = 1.0

# How often the title is drawn, which has durations, and after how long it says that an answer is waited for.
_TITLE_S = 0.5
_PATIENCE_S = 3.0

_EVENT_LINES = 5

_ACTIONS = {each.action.partition("(")[0] for each in KEYS}


class MomentDelivered(Message):
    """What the asker's thread has read."""

    def __init__(self, outcome: MomentReading | NoReading | Exception) -> None:
        super().__init__()
        self.outcome = outcome


class TopApp(App[None]):
    """Begins at `moment` (Unix seconds; None: live), with `tree` (None: the first one)."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # the keys are the app's, while nothing is asked
    CSS = """
    Screen, Static, TopTable, Input { background: ansi_default; color: ansi_default; }
    Static { text-wrap: nowrap; text-overflow: ellipsis; }
    TopTable { height: 1fr; scrollbar-size: 0 0; }
    #title, #totals, #detail, #bottom { height: 1; }
    #events { height: auto; max-height: 5; }
    Input { height: 1; border: none; padding: 0; display: none; }
    """
    # With priority they take effect one after the other, before the next key is read: what follows a `t` is its time.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, show=False, priority=True)
        for key, action in (*((each.key, each.action) for each in KEYS), ("ctrl+c", "interrupt"))
    ]

    def __init__(
        self,
        reader: MomentReader,
        moment: float | None = None,
        tree: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ansi_color=True)
        self._asker = Asker(reader, lambda outcome: self.post_message(MomentDelivered(outcome)))
        self._clock = clock
        self._playhead = Playhead(moment)
        self._tree = tree
        self._order = Order()
        self._graph = "memory"
        self._reading: MomentReading | None = None
        self._asked: MomentRequest | None = None
        self._asked_at = 0.0
        self._is_newest = False  # what is shown was asked for as that
        self._problem = ""
        self._asking_for = ""

    def compose(self) -> ComposeResult:
        yield Static("reading …", id="title", markup=False)
        yield Static("", id="totals", markup=False)
        yield TopTable()
        yield Static("", id="detail", markup=False)
        yield Static("", id="events", markup=False)
        yield Static(HINT, id="bottom", markup=False)
        yield Input(select_on_focus=False)

    def on_mount(self) -> None:
        self.set_interval(_TICK_S, self._tick)
        self.set_interval(_TITLE_S, self._show_title)
        self._tick()

    def _is_shown(self) -> bool:
        """Whether the widgets are there: timers and messages go on while the application closes."""
        return bool(self.query(TopTable))

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    # -- reading

    def _now_s(self) -> float:
        """The present, or the last moment of a source to which nothing is added."""
        end = self._reading.end if self._reading is not None else None
        return self._clock() if end is None else end

    def _tick(self) -> None:
        """Ask for what is wanted, if it is not there yet: nothing while it is paused."""
        if self._asked is None and self._is_due():
            self._asked = MomentRequest(self._playhead.moment, self._tree)
            self._asked_at = self._clock()
            self._asker.ask(self._asked)

    def _is_due(self) -> bool:
        reading, since = self._reading, self._clock() - self._asked_at
        if self._problem:
            return since >= _RETRY_S
        if reading is None or (self._tree is not None and reading.tree != self._tree):
            return True
        if self._playhead.is_live:
            return self._clock() >= reading.moment + 1 if reading.end is None else reading.moment != reading.end
        return reading.moment != self._playhead.moment or (
            not reading.settled and self._clock() > reading.moment + LATE_S
        )

    def on_moment_delivered(self, message: MomentDelivered) -> None:
        of, self._asked = self._asked, None
        if isinstance(message.outcome, Exception):
            raise message.outcome
        if isinstance(message.outcome, NoReading):
            self._problem = message.outcome.text
        else:
            self._reading, self._problem = message.outcome, ""
            self._is_newest = of is not None and of.moment is None
            if self._tree not in message.outcome.run.trees:
                self._tree = None  # another run has come, which has the tree that is shown
        self._show()
        self._tick()

    # -- showing

    def _show(self) -> None:
        reading = self._reading
        if not self._is_shown():
            return
        self._show_title()
        if reading is None:
            return
        self._say("totals", Text.assemble(*header.totals(reading, self.size.width)))
        self.query_one(TopTable).show(arrange(reading.rows, self._order), reading.minute, self._order, self._graph)
        events = [Text.assemble(*pieces) for pieces in header.events(reading, _EVENT_LINES)]
        self._say("events", Text("\n").join(events))
        self._show_detail()

    def _show_title(self) -> None:
        if not self._is_shown():
            return
        waiting = 0.0 if self._asked is None else self._clock() - self._asked_at
        problem = self._problem or (f"no answer for {human_duration(round(waiting))}" if waiting > _PATIENCE_S else "")
        if self._reading is None:
            self._say("title", Text(problem or "reading …"))
            return
        live = self._playhead.is_live and self._is_newest
        state = header.state_of(self._reading, live=live, problem=problem, now_s=self._now_s())
        self._say("title", Text.assemble(*header.title(self._reading, state)))

    def _show_detail(self) -> None:
        if self._reading is None:
            return
        row = self.query_one(TopTable).under_cursor
        nothing = [] if self._reading.rows else [(header.nothing_there(self._reading), "")]
        self._say("detail", Text.assemble(*(header.detail(row) if row else nothing)))

    def _say(self, where: str, text: Text) -> None:
        self.query_one(f"#{where}", Static).update(text)

    # -- keys: see keys.py

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether a key is the app's: not what is typed into a question, nor what is for another screen."""
        if action == "interrupt" or action not in _ACTIONS:
            return True
        return len(self.screen_stack) == 1 and (not self._asking_for or action == "no_filter")

    def action_interrupt(self) -> None:
        self.exit()

    def _go(self, playhead: Playhead) -> None:
        self._playhead = playhead
        self._show()
        self._tick()

    def action_step(self, seconds: int) -> None:
        if self._reading is not None:
            live = self._playhead.is_live and self._is_newest
            self._go(self._playhead.stepped(seconds, self._reading.moment if live else self._now_s()))

    def action_live(self) -> None:
        self._go(LIVE if self._reading is None else self._playhead.toggled(self._reading.moment))

    def action_cursor(self, rows: int) -> None:
        self.query_one(TopTable).move(rows)
        self._show_detail()

    def action_page(self, pages: int) -> None:
        self.action_cursor(pages * max(1, self.query_one(TopTable).size.height - 2))

    def action_fold(self) -> None:
        row = self.query_one(TopTable).under_cursor
        if row is not None:
            self._reorder(self._order._replace(folded=self._order.folded ^ {row.key}))

    def action_flat(self) -> None:
        self._reorder(self._order._replace(tree=not self._order.tree))

    def action_sort(self, name: str) -> None:
        self._reorder(self._order.sorted_by(name))

    def action_no_filter(self) -> None:
        if self._asking_for:
            self._answered()
        else:
            self._reorder(self._order._replace(filter=""))

    def _reorder(self, order: Order) -> None:
        self._order = order
        self._show()

    def action_graph(self) -> None:
        self._graph = "cpu" if self._graph == "memory" else "memory"
        self._show()

    def action_next_tree(self) -> None:
        if self._reading is not None:
            trees = self._reading.run.trees
            self._tree = trees[(trees.index(self._reading.tree) + 1) % len(trees)]
            self._tick()

    def action_keys(self) -> None:
        self.push_screen(KeysScreen())

    # -- questions, on the last line

    def action_ask_time(self) -> None:
        self._ask("time", "", "time: 14:03:07, -5m, RFC 3339 or Unix seconds")

    def action_ask_filter(self) -> None:
        self._ask("filter", self._order.filter, "name, command line or PID")

    def _ask(self, what: str, value: str, hint: str) -> None:
        self._asking_for = what
        question = self.query_one(Input)
        question.value, question.placeholder = value, hint
        question.display = True
        self.set_focus(question)  # at once: what is typed next is for it

    def _answered(self) -> None:
        self._asking_for = ""
        self.query_one(Input).display = False
        self.set_focus(None)
        self._hint(HINT)

    def _hint(self, text: str) -> None:
        self.query_one("#bottom", Static).update(Text(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._asking_for == "filter":
            self._reorder(self._order._replace(filter=event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text, now_s = event.value.strip(), self._now_s()
        if self._asking_for == "time" and text:
            try:
                moment = parse_time(text, now_s, "time")
            except ClientError as error:
                self._hint(str(error))
                return
            self._go(LIVE if moment >= now_s else Playhead(moment))
        self._answered()
