"""`prom-probe query`: times as the flags say them, and answers as text."""

from __future__ import annotations

import json

import pytest

from prom_probe.cli.answer import render_answer
from prom_probe.cli.error import ClientError
from prom_probe.cli.span import Span, parse_span

NOW_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("start", "end", "step", "span"),
    [
        (None, None, None, Span(None, NOW_S, 0.0)),
        (None, "-5m", None, Span(None, NOW_S - 300, 0.0)),
        (None, "1699999999.5", None, Span(None, 1699999999.5, 0.0)),
        (None, "2023-11-14T22:13:20Z", None, Span(None, NOW_S, 0.0)),
        ("-10m", None, None, Span(NOW_S - 600, NOW_S, 10.0, default_step=True)),
        ("-10s", None, None, Span(NOW_S - 10, NOW_S, 1.0, default_step=True)),
        ("-10005ms", None, None, Span(NOW_S - 10, NOW_S, 1.0, default_step=True)),
        ("-650s", None, None, Span(NOW_S - 649, NOW_S, 11.0, default_step=True)),
        ("-10m", "now", "30s", Span(NOW_S - 600, NOW_S, 30.0)),
        ("-10m", "-5m", "2.5", Span(NOW_S - 600, NOW_S - 300, 2.5)),
    ],
)
def test_times(start: str | None, end: str | None, step: str | None, span: Span) -> None:
    """Unix seconds, RFC 3339, or back from now; a range has 60 steps, of at least a second, and
    the last one ends with it."""
    assert parse_span(start, end, step, NOW_S) == span


@pytest.mark.parametrize(
    ("start", "end", "step", "error"),
    [
        (None, None, "1s", "--step needs --start"),
        ("soon", None, None, "--start: neither Unix seconds, RFC 3339 nor -DURATION: 'soon'"),
        (None, "-5", None, "--end: neither"),
        ("-5m", None, "x", "--step: not a duration"),
    ],
)
def test_bad_times(start: str | None, end: str | None, step: str | None, error: str) -> None:
    """The flag is named, and the exit status is 2."""
    with pytest.raises(ClientError, match=error) as raised:
        parse_span(start, end, step, NOW_S)
    assert raised.value.status == 2


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ({"resultType": "scalar", "result": [NOW_S, "1.5"]}, ["1.5"]),
        ({"resultType": "vector", "result": []}, ["(no data)"]),
        (
            {
                "resultType": "vector",
                "result": [
                    {"metric": {"__name__": "up"}, "value": [NOW_S, "1"]},
                    {"metric": {"__name__": "up", "job": 'a"b'}, "value": [NOW_S, "0"]},
                    {"metric": {}, "value": [NOW_S, "2"]},
                ],
            },
            ["up              1", 'up{job="a\\"b"}  0', "{}              2"],
        ),
        (
            {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[NOW_S, "1"], [NOW_S + 0.5, "2"]]}]},
            ['{a="b"}', "  2023-11-14 22:13:20.000Z  1", "  2023-11-14 22:13:20.500Z  2"],
        ),
    ],
)
def test_an_answer_is_a_table(data: dict[str, object], lines: list[str]) -> None:
    """A line a series; a range has its points below it."""
    answer = json.dumps({"status": "success", "data": data}).encode()
    assert render_answer(answer).splitlines() == lines


def test_warnings_follow_the_answer() -> None:
    """So that they are not missed."""
    data = {"resultType": "scalar", "result": [NOW_S, "1"]}
    answer = json.dumps({"data": data, "warnings": ["w"], "infos": ["i"]}).encode()
    assert render_answer(answer).splitlines() == ["1", "warning: w", "info: i"]


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"data":{"resultType":"x","result":[]}}'])
def test_what_is_not_an_answer_is_an_error(answer: bytes) -> None:
    """A URL of something else is easily given."""
    with pytest.raises(ClientError, match="not Prometheus's JSON"):
        render_answer(answer)
