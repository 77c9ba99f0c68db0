"""The selector that is awake for a moment when more is expected, and sleeps otherwise."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

import pytest

from prom_probe.web.api.queries import Queries
from prom_probe.web.http.patience import PATIENCE_S, PatientSelector, run

SOMETHING = [(selectors.SelectorKey(0, 0, selectors.EVENT_READ, None), selectors.EVENT_READ)]


class Looks:
    """What the selector below does: how long each look may wait, and what comes after so many seconds."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []
        self.now = 100.0
        self.comes_at: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """A look takes 0.05 ms, one that finds nothing as long as it may, or a second."""
        self.waits.append(timeout)
        end = self.now + (1.0 if timeout is None else max(timeout, 0.00005))
        if self.comes_at is None or self.comes_at > end:
            self.now = end
            return []
        self.now = max(self.now + 0.00005, self.comes_at)
        self.comes_at = None
        return SOMETHING

    def comes_in(self, seconds: float) -> None:
        self.comes_at = self.now + seconds


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    monkeypatch.setattr(selectors.DefaultSelector, "select", lambda _, timeout=None: found.select(timeout))
    monkeypatch.setattr("prom_probe.web.http.patience.time.monotonic", lambda: found.now)
    return found


def test_it_sleeps_at_once_when_nothing_is_expected(looks: Looks) -> None:
    with PatientSelector() as selector:
        selector.select(1.5)
        selector.select(None)
    assert looks.waits == [1.5, None]


def test_a_client_that_asks_once_is_not_waited_for(looks: Looks) -> None:
    """However often it does."""
    with PatientSelector() as selector:
        for _ in range(5):
            selector.expect()
            looks.comes_in(0.5)
            assert selector.select(None) == SOMETHING
    assert looks.waits == [None] * 5


def test_a_client_that_asks_back_to_back_is_looked_for(looks: Looks) -> None:
    """From its third request on, without sleeping."""
    with PatientSelector() as selector:
        selector.expect()
        looks.comes_in(0.0005)
        assert selector.select(None) == SOMETHING
        assert looks.waits == [None]
        for _ in range(10):
            looks.waits.clear()
            selector.expect()
            looks.comes_in(0.0005)
            assert selector.select(None) == SOMETHING
            assert set(looks.waits) == {0}


@pytest.mark.parametrize("timeout", [1.5, None])
def test_its_patience_ends(looks: Looks, timeout: float | None) -> None:
    """It looks for less long each time that nothing comes, then not at all."""
    spent = []
    with PatientSelector() as selector:
        selector.patience_s = PATIENCE_S
        for _ in range(6):
            looks.waits.clear()
            selector.expect()
            assert selector.select(timeout) == []
            assert looks.waits[-1] == timeout
            assert set(looks.waits[:-1]) <= {0}
            spent.append(len(looks.waits) - 1)
            assert selector.select(timeout) == []
            assert looks.waits[-2:] == [timeout, timeout]
    assert spent[0] > spent[1] > spent[2] > spent[-1] == 0


def test_it_does_not_wait_where_it_may_not(looks: Looks) -> None:
    """The loop has something else to do first, or soon."""
    with PatientSelector() as selector:
        selector.patience_s = PATIENCE_S
        selector.expect()
        selector.select(0)
        assert looks.waits == [0]
        selector.select(0.0001)
    assert looks.waits in ([0, 0, 0.0001], [0, 0, 0, 0.0001])


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_comes_ends_the_looking(pipe: tuple[int, int]) -> None:
    with PatientSelector() as selector:
        key = selector.register(pipe[0], selectors.EVENT_READ)
        os.write(pipe[1], b"x")
        selector.patience_s = 3600
        selector.expect()
        assert selector.select(None) == [(key, selectors.EVENT_READ)]
        os.read(pipe[0], 1)
        assert selector.select(0.01) == []


def test_answers_made_on_the_loop_let_it_expect_more() -> None:
    """Those of threads do not: a loop that is awake would take the interpreter from the next one."""
    expected = []

    async def serve() -> None:
        queries = Queries(2, lambda *_: None, lambda: expected.append("more"))
        queries.run(lambda deadline: [b"1"], 5, inline=True)
        assert expected == ["more"]
        pending = queries.run(lambda deadline: [b"2"], 5, inline=False)
        queries.run(lambda deadline: [b"3"], 5, inline=True)
        response = await pending  # type: ignore[misc]
        assert response.body == b"2"
        queries.close()

    run(lambda expect: serve())
    assert expected == ["more"]
