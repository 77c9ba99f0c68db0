"""A range query without --step hides no peak of a plain metric, and says what its rows are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner

from prom_probe.cli.main import cli
from prom_probe.cli.span import Span
from prom_probe.cli.stored import evaluate_range
from prom_probe.cli.thinning import describe_rows, largest_of_each_step
from prom_probe.tsdb.store import Store
from tests.support.http_peer import Peer
from tests.support.tsdb_tools import filled, gauges
from tests.support.waiting import wait_for

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
TEN_MINUTES = Span(1000.0, 1600.0, 10.0, default_step=True)


def _rows(store: Store, expr: str, span: Span) -> dict[float, float]:
    """The values of the one series that the expression gives, by time; its name must have stayed."""
    (series,) = json.loads(evaluate_range(store, expr, span.start_s or 0.0, span.end_s, span.step_s))["data"]["result"]
    assert series["metric"] == {"__name__": "g", "i": "0"}
    return {t: float(value) for t, value in series["values"]}


@pytest.mark.parametrize("expr", ["g", "g{i='0'} # a comment", "{__name__='g', i=~'0'}", " g "])
def test_each_row_is_the_largest_since_the_row_before(expr: str) -> None:
    """A spike of one second between two rows is seen; so is one in the last second."""
    values = dict.fromkeys(range(900, 1601), 10.0) | {1203: 300.0, 1230: 200.0, 1231: 100.0, 1599: 400.0}
    store = filled([(second * 1000 + 7, [value]) for second, value in values.items()], gauges(1))
    largest = largest_of_each_step(expr, TEN_MINUTES)
    assert largest is not None
    rows = _rows(store, largest, TEN_MINUTES)
    truth = {end: max(values[t] for t in range(end - 10, end)) for end in range(1000, 1601, 10)}
    assert rows == truth
    assert max(list(_rows(store, expr, TEN_MINUTES).values())[:-1]) == 10.0


def test_a_step_without_a_sample_has_the_value_of_its_moment() -> None:
    """Samples every minute, as of a Prometheus: no row is lost, and each series stays one."""
    store = filled([(second * 1000, [float(second)]) for second in range(940, 1601, 60)], gauges(1))
    largest = largest_of_each_step("g", TEN_MINUTES)
    assert largest is not None
    assert _rows(store, largest, TEN_MINUTES) == _rows(store, "g", TEN_MINUTES)


@pytest.mark.parametrize(
    "expr", ["sum(g)", "rate(g[5m])", "g + g", "g offset 5m", "g @ 3", "g[5m]", "{i='0'}", "{__name__=~'g|h'}", "g{"]
)
def test_other_expressions_are_left_alone(expr: str) -> None:
    """Also what is no expression: the error is the API's."""
    assert largest_of_each_step(expr, TEN_MINUTES) is None


@pytest.mark.parametrize(
    ("span", "largest", "line"),
    [
        (
            TEN_MINUTES,
            True,
            "a row every 10s, with the largest value since the row before; --step=1s shows every second",
        ),
        (TEN_MINUTES, False, "a row every 10s, with the value of that moment alone; --step=1s shows every second"),
        (
            Span(0.0, 21_600.0, 360.0),
            False,
            "a row every 6m, with the value of that moment alone; a shorter range with --step=1s shows every second",
        ),
    ],
)
def test_a_line_says_what_the_rows_are(span: Span, largest: bool, line: str) -> None:
    """What it advises is what the API accepts."""
    assert describe_rows(span, largest) == line


@pytest.fixture
def api() -> Iterator[Peer]:
    """Answers a query with nothing, and does not know why."""
    body = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
    peer = Peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), NOT_FOUND)
    yield peer
    peer.close()


@pytest.mark.parametrize(
    ("args", "asked", "said"),
    [
        (
            ["g", "--start=-10m"],
            'label_replace(max_over_time(g[10s]), "__name__", "g", "", "") or g',
            "prom-probe: a row every 10s, with the largest value since the row before; --step=1s shows every second\n",
        ),
        (
            ["sum(g)", "--start=-10m", "--json"],
            "sum(g)",
            "prom-probe: a row every 10s, with the value of that moment alone; --step=1s shows every second\n",
        ),
        (["g", "--start=-10s"], 'label_replace(max_over_time(g[1s]), "__name__", "g", "", "") or g', ""),
        (["g", "--start=-10m", "--step=10s"], "g", ""),
        (["g"], "g", ""),
    ],
)
def test_the_command_asks_for_it_and_says_so_on_stderr(api: Peer, args: list[str], asked: str, said: str) -> None:
    """A step that was asked for is taken as it is."""
    url = api.url.removesuffix("/metrics?a=b")
    done = CliRunner().invoke(cli, ["query", *args, f"--url={url}"])
    assert done.exit_code == 0, done.output
    assert done.stderr == said
    # The next request may have arrived before this one's form.
    form = wait_for("the form", lambda: re.search(rb"\bquery=\S+", b"".join(api.requests)))
    assert parse_qs(form[0].decode())["query"] == [asked]
