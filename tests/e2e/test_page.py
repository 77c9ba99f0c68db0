"""The page in Debian's chromium, over a real run: from a spike to the name of the process in two actions."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import Chromium
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

MIB = 1 << 20
SPIKE_MIB, SHARD_MIB = 400, 250
HOSTILE = "<img onerror=x>"

# Three loaders, one of which once takes 400 MiB for two seconds; then three children that live for two seconds each, of
# which one has 250 MiB; beside them a process with a hostile name. What is true is written to argv[1].
PROGRAM = f"""
import json, multiprocessing, os, sys, time

def named(name):
    open("/proc/self/comm", "w").write(name)

def loader(number, go, over):
    named(f"loader-{{number}}")
    while True:
        sum(range(20000))
        time.sleep(0.05)
        if number == 1 and go.is_set():
            go.clear()
            block = bytearray(b"x") * ({SPIKE_MIB} << 20)
            time.sleep(2.5)
            del block
            over.set()

def shard(number, middle):
    named(f"shard-{{number}}")
    block = bytearray(b"x") * (({SHARD_MIB} if number == 1 else 4) << 20)
    time.sleep(1.1)
    middle.value = time.time()
    time.sleep(1.1)

def hostile():
    named({HOSTILE!r})
    time.sleep(3600)

def main():
    context = multiprocessing.get_context("fork")
    go, over = context.Event(), context.Event()
    loaders = [context.Process(target=loader, args=(number, go, over), daemon=True) for number in range(3)]
    for each in [*loaders, context.Process(target=hostile, daemon=True)]:
        each.start()
    time.sleep(1.5)
    go.set()
    over.wait()  # to take memory may take long
    time.sleep(1)
    truth = {{"spike": loaders[1].pid}}
    for number in range(3):
        middle = context.Value("d")
        child = context.Process(target=shard, args=(number, middle))
        child.start()
        child.join()
        if number == 1:
            truth |= {{"shard": child.pid, "middle": middle.value}}
    open(sys.argv[1] + ".new", "w").write(json.dumps(truth))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(3600)

main()
"""


# The page shows the last five minutes: of a run that is older than this, a slow test might see no spike any more.
YOUNG_S = 120


class Run:
    """A run that has had its spikes, and what is true of them."""

    def __init__(self, sidecar: Sidecar, truth: dict[str, float]) -> None:
        self.sidecar = sidecar
        self.truth = truth
        self.since = time.monotonic()


class Runs:
    """The tests' run: one for all of them, and another one once that is too old."""

    def __init__(self, stack: ExitStack, factory: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._factory = factory
        self._run: Run | None = None

    def young(self) -> Run:
        if self._run is None or time.monotonic() - self._run.since > YOUNG_S:
            self._stack.close()
            file = self._factory.mktemp("page") / "truth.json"
            sidecar = self._stack.enter_context(Sidecar("--", sys.executable, "-c", PROGRAM, str(file)))
            wait_for("the spikes", file.exists)
            self._run = Run(sidecar, json.loads(file.read_text()))
        return self._run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with ExitStack() as stack:
        yield Runs(stack, tmp_path_factory)


@pytest.fixture
def run(runs: Runs) -> Run:
    return runs.young()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def page(run: Run, browser: Chromium) -> Iterator[Chromium]:
    """The page, live, at its usual size; afterwards nothing may have been complained of, nor asked of others."""
    browser.size(1280, 900)
    browser.open("about:blank")
    browser.events.clear()
    browser.open(f"{run.sidecar.api}/")
    browser.wait("live", "document.querySelector('#state')?.textContent === 'live'")
    browser.wait("a table", "document.querySelectorAll('#processes tbody tr').length >= 4")
    yield browser
    assert browser.complaints() == []
    assert {
        urllib.parse.urlsplit(url).netloc for url in browser.requests() if not url.startswith(("data:", "about:"))
    } == {run.sidecar.api.removeprefix("http://")}


def rows(page: Chromium) -> list[dict[str, Any]]:
    """The table as a person reads it: by column, and whether the process was there."""
    found: list[dict[str, Any]] = page.evaluate(
        "(() => { const titles = [...document.querySelectorAll('#processes thead th')].map((each) => each.innerText);"
        " return [...document.querySelectorAll('#processes tbody tr')].map((line) => ({"
        " ...Object.fromEntries([...line.children].map((cell, at) => [titles[at].replace(/ .$/, ''), cell.innerText])),"
        " name: line.querySelector('.name').innerText, gone: line.classList.contains('gone') })); })()"
    )
    return found


def state(page: Chromium) -> dict[str, str]:
    """What the address says."""
    return dict(urllib.parse.parse_qsl(page.evaluate("location.hash.slice(1)")))


def moment(page: Chromium) -> float:
    return float(state(page)["at"])


def place_of(page: Chromium, t: float, panel: str = "memory") -> tuple[float, float]:
    """Where in the window a moment is in a panel's graph."""
    at = page.place(f"#panel-{panel} .u-over")
    start, end = float(state(page)["from"]), float(state(page)["to"])
    return at["left"] + at["width"] * (t - start) / (end - start), at["top"] + at["height"] / 2


def settled(page: Chromium) -> None:
    """Everything that was asked for is there, and the table is the moment's."""
    page.wait("loaded", "document.querySelector('#graphs').getAttribute('aria-busy') === 'false'")
    page.listen(0.3)


def mebibytes(text: str) -> float:
    number, unit = text.removeprefix("peak ").split()
    return float(number) * {"B": 1 / MIB, "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]


def test_two_actions_to_the_name(page: Chromium, run: Run) -> None:
    """The URL, and one press: the table's first row is the process that took the memory, as large as it was."""
    page.press("#memory-peak")
    first = wait_for("the table of that moment", lambda: _first(page, run.truth["spike"]))
    assert first["name"] == "loader-1"
    assert SPIKE_MIB <= mebibytes(first["Memory"]) < SPIKE_MIB * 1.2
    assert page.text("#panel-memory .readout").count("loader-1") == 1
    assert "loader-1" in page.text("#spoken")


def _first(page: Chromium, pid: float) -> dict[str, Any] | None:
    return next((row for row in rows(page)[:1] if row["PID"] == str(pid)), None)


def _first_at(page: Chromium, t: float, pid: float) -> dict[str, Any] | None:
    """The first row after a click on a moment, as soon as the graphs stand still."""
    settled(page)
    page.click(*place_of(page, t))
    settled(page)
    return _first(page, pid)


def test_a_click_on_a_child_of_two_seconds(page: Chromium, run: Run) -> None:
    """A place on the graph; also for who is long gone."""
    page.press("#memory-peak")  # the range stands still from here on
    first = wait_for("the child", lambda: _first_at(page, run.truth["middle"], run.truth["shard"]))
    assert first["name"] == "shard-1"
    assert SHARD_MIB <= mebibytes(first["Memory"]) < SHARD_MIB * 1.4
    assert abs(moment(page) - run.truth["middle"]) < 3


def test_who_had_just_ended_or_was_to_come(page: Chromium, run: Run) -> None:
    """Three seconds later: the child is in the table, marked, with its peak."""
    page.press("#memory-peak")
    wait_for("the child", lambda: _first_at(page, run.truth["middle"], run.truth["shard"]))
    for _ in range(3):
        page.key("ArrowRight")
    gone = wait_for(
        "a row", lambda: next((row for row in rows(page) if row["name"] == "shard-1" and row["gone"]), None)
    )
    assert "ended" in gone["Process"]
    assert SHARD_MIB <= mebibytes(gone["Memory"]) < SHARD_MIB * 1.4


def test_a_tap_beside_the_spike(run: Run, browser: Chromium) -> None:
    """At 360 pixels a second is narrower than a finger: eight pixels beside it, the spike is meant."""
    browser.size(360, 760, mobile=True)
    browser.open("about:blank")
    browser.open(f"{run.sidecar.api}/")
    browser.wait("live", "document.querySelector('#state')?.textContent === 'live'")
    browser.press("#memory-peak", touch=True)
    wait_for("the spike", lambda: _first(browser, run.truth["spike"]))
    x, y = place_of(browser, moment(browser))
    browser.key("Escape")
    browser.click(x - 8, y, touch=True)
    wait_for("the spike", lambda: _first(browser, run.truth["spike"]))
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = browser.evaluate(
        "[...document.querySelectorAll('button, select, input:not([type=checkbox])')]"
        ".filter((each) => each.checkVisibility() && !each.closest('thead') && each.offsetHeight < 39)"
        ".map((each) => each.outerHTML)"
    )
    assert small == []


def test_names_are_text(page: Chromium) -> None:
    """A process's name with a tag in it is shown as it is."""
    wait_for("the process", lambda: HOSTILE in [row["name"] for row in rows(page)])
    assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_keys(page: Chromium) -> None:
    """Seconds, tens of seconds, both ends, peaks, live; not while somebody types."""
    page.key("m")
    wait_for("a moment", lambda: "at" in state(page))
    settled(page)
    peak = moment(page)
    for key, shift, wanted in (("ArrowLeft", False, -1), ("ArrowRight", True, 9), ("ArrowLeft", True, -1)):
        page.key(key, shift=shift)
        assert moment(page) - peak == wanted
    page.key("Home")
    assert moment(page) == float(state(page)["from"])
    page.key("End")
    assert moment(page) == float(state(page)["to"])
    page.evaluate("document.querySelector('#expression').focus()")
    page.key("ArrowLeft")
    assert moment(page) == float(state(page)["to"])
    page.evaluate("document.activeElement.blur()")
    page.key("Escape")
    assert "at" not in state(page)
    page.key("l")
    page.wait("live", "document.querySelector('#state').textContent === 'live'")
    assert state(page)["live"] == "1"
    page.key("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_link_shows_the_same(page: Chromium, run: Run) -> None:
    """The address has range and moment; back is where one was before."""
    page.press("#memory-peak")
    wait_for("the spike", lambda: _first(page, run.truth["spike"]))
    settled(page)
    url, at, before = page.evaluate("location.href"), moment(page), state(page)
    left, right = place_of(page, at - 2), place_of(page, at + 12)
    page.drag(left, right)
    wait_for("a smaller range", lambda: float(state(page)["to"]) - float(state(page)["from"]) < 25)
    settled(page)
    page.evaluate("history.back()")
    wait_for("the range of before", lambda: state(page) == before)
    page.open("about:blank")
    page.open(url)
    wait_for("the same", lambda: _first(page, run.truth["spike"]))
    assert moment(page) == at


def test_sorting_and_the_tree(page: Chromium) -> None:
    """By any column, up and down; children below their parent."""
    page.press("#memory-peak")
    settled(page)
    sort = "document.querySelectorAll('#processes thead button')[3].click()"
    page.evaluate(sort)
    pids = [int(row["PID"]) for row in rows(page)]
    assert pids == sorted(pids)
    page.evaluate(sort)
    assert [int(row["PID"]) for row in rows(page)] == pids[::-1]
    page.press("#as-tree")
    shown = rows(page)
    place = {row["PID"]: index for index, row in enumerate(shown)}
    below = [(place[row["Parent"]], index) for index, row in enumerate(shown) if row["Parent"] in place]
    assert len(below) >= 4
    assert all(parent < child for parent, child in below)
    page.press("#as-tree")


def test_promql(page: Chromium) -> None:
    """An expression completed, evaluated at the moment, and drawn; a mistake is told."""
    page.press("#memory-peak")
    settled(page)
    page.evaluate("document.querySelector('#expression').focus()")
    page.ask("Input.insertText", text="max(proctree_process_resident")
    page.wait("completions", "document.querySelectorAll('#completions li').length > 0")
    page.key("Tab")
    page.ask("Input.insertText", text='{comm="loader-1"})')
    page.evaluate("document.querySelector('#expression-form').requestSubmit()")
    shown = page.wait("a value", "document.querySelector('#expression-result td')?.innerText")
    assert SPIKE_MIB <= mebibytes(shown) < SPIKE_MIB * 1.2
    page.press("#draw-expression")
    page.wait("a graph", "document.querySelector('#expressions .readout')?.innerText.includes('at most')")
    assert "draw" in state(page)
    page.evaluate("document.querySelector('#expression').value = 'max('")
    page.evaluate("document.querySelector('#expression-form').requestSubmit()")
    page.wait("an error", "document.querySelector('#expression-error').innerText !== ''")
    page.events = [event for event in page.events if not is_refusal(event)]  # chromium logs it


def is_refusal(event: dict[str, Any]) -> bool:
    return event["method"] == "Log.entryAdded" and "400" in event["params"]["entry"]["text"]


_CONTRAST = Path(__file__).with_name("contrast.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: Chromium, scheme: str) -> None:
    """All text has what WCAG AA asks for; the switch changes the scheme."""
    page.scheme(scheme)
    page.press("#memory-peak")
    settled(page)
    assert page.evaluate(_CONTRAST) == []
    page.press("#theme")
    assert page.evaluate(_CONTRAST) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)'")
    assert dark == (scheme == "light")
    page.evaluate("localStorage.clear()")


def test_while_nobody_looks_nothing_is_asked(page: Chromium) -> None:
    """A hidden page is silent; seen again, it goes on."""
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.listen(2.0)
    before = len(page.requests())
    page.listen(3.0)
    assert len(page.requests()) == before
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for("requests", lambda: len(page.requests()) > before)


def test_a_sidecar_that_goes_away(browser: Chromium) -> None:
    """It is said, and what was there stays to be seen."""
    with Sidecar("--", "sleep", "3600") as sidecar:
        browser.size(1280, 900)
        browser.open("about:blank")
        browser.open(f"{sidecar.api}/")
        browser.wait("live", "document.querySelector('#state')?.textContent === 'live'")
        browser.wait("a table", "document.querySelectorAll('#processes tbody tr').length > 0")
    browser.wait("an error", "document.querySelector('#state').textContent.includes('does not answer')")
    assert [row["name"] for row in rows(browser)] == ["sleep"]
    assert browser.evaluate("document.querySelectorAll('#panel-memory canvas').length") == 1


def test_a_run_that_is_over(browser: Chromium, tmp_path: Path) -> None:
    """Of a stored run the page shows all of it, and the peak of memory without any action; nothing is live any more."""
    spike = (
        f"import time; time.sleep(2); b = bytearray(b'x') * ({SHARD_MIB} << 20); time.sleep(2); del b; time.sleep(2)"
    )
    with Sidecar("--", sys.executable, "-c", spike, flags=[f"--storage.tsdb.path={tmp_path}"]) as sidecar:
        assert sidecar.wait() == 0
    with Sidecar(flags=[f"--storage.tsdb.path={tmp_path}"], serve=True) as server:
        browser.size(1280, 900)
        browser.open("about:blank")
        browser.open(f"{server.api}/")
        browser.wait("a table", "document.querySelectorAll('#processes tbody tr').length > 0")
        browser.wait("a moment", "location.hash.includes('at=')")
        settled(browser)
        assert SHARD_MIB <= mebibytes(rows(browser)[0]["Memory"]) < SHARD_MIB * 1.4
        assert browser.text("#state") == "ended"
        assert "with status 0" in browser.text("#since")
        assert browser.evaluate("document.querySelector('#live').disabled")
        browser.key("End")
        wait_for("no process", lambda: all(row["gone"] for row in rows(browser)))
