"""The keys of `top` over a stored run, in textual's own headless terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from prom_probe.cli.top.app import TopApp
from prom_probe.cli.top.keys import KEYS
from prom_probe.cli.top.lasting import LastingSource
from prom_probe.cli.top.reader import MomentReader
from prom_probe.cli.top.table import TopTable
from tests.support.memory import folder_in_memory
from tests.support.stored_runs import START_S, make_stored_run
from tests.support.waiting import DEADLINE_S


@pytest.fixture(scope="module")
def path() -> Iterator[str]:
    """A run whose child lives from the fifth second to the fifteenth, and has 280 MiB in the tenth."""
    with folder_in_memory() as folder:
        yield make_stored_run(folder / "run")


class Terminal:
    """What is on the screen, and the keys."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.press = pilot.press
        self.resize = pilot.resize_terminal
        self._pause = pilot.pause

    def line(self, name: str) -> str:
        return str(self.app.query_one(f"#{name}", Static).render())

    def table(self) -> list[str]:
        table = self.app.query_one(TopTable)
        return [text for y in range(table.size.height) if (text := table.render_line(y).text.rstrip())]

    def pids(self) -> list[str]:
        return [next(word for word in line.split() if word.isdigit()) for line in self.table()[1:]]

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, (what, self.line("title"), self.table())
            await self._pause(0.02)


def play(path: str, script: Callable[[Terminal], Awaitable[None]], second: float = 10, width: int = 150) -> None:
    """Run the app at a second of the run, with these keys."""

    async def run() -> None:
        app = TopApp(MomentReader(LastingSource(path)), START_S + second)
        async with app.run_test(size=(width, 30)) as pilot:
            terminal = Terminal(app, pilot)
            await terminal.until("the first reading", lambda: len(terminal.table()) > 1)
            await script(terminal)

    asyncio.run(run())


def test_back_and_forth_in_time(path: str) -> None:
    """A second, ten seconds, to a time, and to the end."""

    async def script(terminal: Terminal) -> None:
        assert "280 MiB" in terminal.table()[2] and "paused, 50 s back" in terminal.line("title")
        for keys, peak in (("right", False), ("left", True), ("shift+left", False), ("shift+right", True)):
            await terminal.press(keys)
            await terminal.until(keys, lambda peak=peak: ("280 MiB" in "".join(terminal.table())) == peak)  # type: ignore[misc]
        await terminal.press("space")
        await terminal.until("the end", lambda: "ended, exit status 0" in terminal.line("title"))
        assert terminal.pids() == ["7"]
        await terminal.press("t", *f"{START_S + 10:.0f}", "enter")
        await terminal.until("the peak", lambda: "280 MiB" in "".join(terminal.table()))
        await terminal.press("right", "right", "right", "space")
        await terminal.until("the end", lambda: "ended" in terminal.line("title"))
        await terminal.press("space", "left")
        await terminal.until("a second before it", lambda: "paused, 1 s back" in terminal.line("title"))

    play(path, script)


def test_a_wrong_time_is_asked_again(path: str) -> None:
    """And Esc leaves it."""

    async def script(terminal: Terminal) -> None:
        await terminal.press("t", *"soon", "enter")
        assert "neither 14:03:07, -5m, now" in terminal.line("bottom") and terminal.app.query_one(Input).display
        await terminal.press("escape")
        assert not terminal.app.query_one(Input).display and "quit" in terminal.line("bottom")
        await terminal.press("left")
        await terminal.until("a key of the app's again", lambda: "280 MiB" not in "".join(terminal.table()))

    play(path, script)


def test_sorting_folding_filtering(path: str) -> None:
    """The cursor stays with its process."""

    async def script(terminal: Terminal) -> None:
        assert terminal.pids() == ["7", "8"]
        await terminal.press("f", "m")
        assert terminal.pids() == ["7", "8"]
        await terminal.press("m")
        assert terminal.pids() == ["8", "7"] and "MEMORY▼" in terminal.table()[0]
        assert terminal.line("detail").startswith("PID 7, ")
        await terminal.press("up")
        assert terminal.line("detail").startswith("PID 8, parent 7, ")
        await terminal.press("n", "n", "f")
        assert "PROCESS▼" in terminal.table()[0] and terminal.pids() == ["7", "8"]
        await terminal.press("up", "enter")
        assert terminal.pids() == ["7"] and "python [+1]" in terminal.table()[1] and "300 MiB" in terminal.table()[1]
        await terminal.press("enter", "slash", *"load")
        assert terminal.pids() == ["7", "8"]
        await terminal.press(*"ers", "enter")
        assert terminal.pids() == []
        await terminal.press("escape")
        assert terminal.pids() == ["7", "8"]

    play(path, script)


def test_graphs_and_the_list_of_keys(path: str) -> None:
    """Of memory or CPU, by the same scale for all processes."""

    async def script(terminal: Terminal) -> None:
        assert "memory, last minute" in terminal.table()[0] and terminal.table()[2].endswith("█")
        assert terminal.table()[1].endswith("▁")
        await terminal.press("g")
        assert "cpu, last minute" in terminal.table()[0] and terminal.table()[1].endswith("▃█")
        await terminal.press("question_mark")
        await terminal.until("the keys", lambda: len(terminal.app.screen_stack) == 2)
        for show in (terminal.app._show, terminal.app._show_title, terminal.app._tick):  # as timers do meanwhile
            show()
        await terminal.press("q")
        await terminal.until("the table", lambda: len(terminal.app.screen_stack) == 1)

    play(path, script)


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_it_fits_any_terminal(path: str, width: int) -> None:
    """PID, name, CPU and memory are always there, the others where there is room."""

    async def script(terminal: Terminal) -> None:
        await terminal.resize(width, 20)
        await terminal.until("the width", lambda: terminal.app.query_one(TopTable).size.width == width)
        head, *rows = terminal.table()
        assert all(len(line) <= width for line in (head, *rows)) and len(rows) == 2
        assert "loader" in rows[1]
        if width >= 80:
            assert "MEMORY▼" in head and "280 MiB" in rows[1]
        assert ("AGE" in head) == (width >= 80) and ("WRITTEN" in head) == (width >= 110)

    play(path, script)


def test_a_tree_that_is_not_there_any_more_is_not_waited_for(path: str) -> None:
    """Another run can have the address of the one before."""

    async def script(terminal: Terminal) -> None:
        terminal.app._tree = "gone"
        await terminal.press("left")
        await terminal.until("the tree that is there", lambda: terminal.app._tree is None)
        await terminal.until("its reading", lambda: not terminal.app._is_due())

    play(path, script)


def test_every_key_does_something() -> None:
    """No key twice, and each has an action of the app."""
    assert len({each.key for each in KEYS}) == len(KEYS)
    for each in KEYS:
        assert hasattr(TopApp, f"action_{each.action.partition('(')[0]}"), each
