"""The selector that is awake for a moment when more is expected, and sleeps otherwise."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

import pytest

from prom_probe.web.patience import PatientSelector, run
from prom_probe.web.queries import Queries

_NOTHING: list[tuple[selectors.SelectorKey, int]] = []


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long each look of the selector below waits; nothing ever comes. Each look takes 0.1 ms."""
    looked: list[float | None] = []
    now = [100.0]

    def select(_: object, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        looked.append(timeout)
        now[0] += 0.0001
        return _NOTHING

    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    monkeypatch.setattr("prom_probe.web.patience.time.monotonic", lambda: now[0])
    return looked


def test_it_sleeps_at_once_when_nothing_is_expected(waits: list[float | None]) -> None:
    with PatientSelector() as selector:
        selector.select(1.5)
        selector.select(None)
    assert waits == [1.5, None]


@pytest.mark.parametrize("timeout", [1.5, None])
def test_it_looks_for_a_moment_and_then_sleeps(waits: list[float | None], timeout: float | None) -> None:
    """Once for each time that something is expected."""
    with PatientSelector() as selector:
        selector.expect()
        selector.select(timeout)
        assert waits[-1] == timeout
        assert len(waits) > 1
        assert set(waits[:-1]) == {0}
        waits.clear()
        selector.select(timeout)
    assert waits == [timeout]


def test_it_does_not_wait_where_it_may_not(waits: list[float | None]) -> None:
    """The loop has something else to do first."""
    with PatientSelector() as selector:
        selector.expect()
        selector.select(0)
        assert waits == [0]
        selector.select(None)
    assert waits == [0, 0, None]


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
        selector.expect()
        assert selector.select(None) == [(key, selectors.EVENT_READ)]
        assert not selector._until


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
