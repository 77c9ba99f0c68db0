"""`prom-probe query`: times as the flags say them, answers as people and programs want them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prom_probe.cli.answer import AnswerStyle, human_number, read_answer, render_csv, render_table
from prom_probe.cli.clock import format_time, parse_time
from prom_probe.cli.error import ClientError
from prom_probe.cli.expression_unit import unit_of_expression
from prom_probe.cli.main import cli
from prom_probe.cli.span import Span, parse_span
from prom_probe.model.family import Family, column
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.tsdb_tools import row

NOW_S = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
RAW = AnswerStyle(utc=True, raw=True)


@pytest.fixture(params=["UTC", "Asia/Kolkata"])
def local_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of the reader."""
    with monkeypatch.context() as context:
        context.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


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
def test_spans(start: str | None, end: str | None, step: str | None, span: Span) -> None:
    """A range has 60 steps, of at least a second, and the last one ends with it."""
    assert parse_span(start, end, step, NOW_S) == span


def test_the_last_minutes_end_where_the_range_ends() -> None:
    """`--last` is the start, seen from the end."""
    assert parse_span(None, None, "1s", NOW_S, last="10m") == Span(NOW_S - 600, NOW_S, 1.0)
    assert parse_span(None, "-5m", "1s", NOW_S, last="90") == Span(NOW_S - 390, NOW_S - 300, 1.0)


@pytest.mark.parametrize(
    ("text", "utc_time"),
    [
        ("22:13:20", "2023-11-14T22:13:20"),
        ("22:13:21", "2023-11-13T22:13:21"),
        ("22:13", "2023-11-14T22:13:00"),
        ("00:00:00.25", "2023-11-14T00:00:00.250"),
        ("2023-11-14T10:00:00", "2023-11-14T10:00:00"),
        ("2023-11-14", "2023-11-14T00:00:00"),
    ],
)
def test_a_time_without_an_offset(text: str, utc_time: str, local_zone: str) -> None:
    """In the reader's zone, or in UTC where asked; of a clock's time the last before now."""
    expected_s = datetime.fromisoformat(utc_time).replace(tzinfo=UTC).timestamp()
    assert parse_time(text, NOW_S, "--end", utc=True) == expected_s
    local_now_s = datetime.fromisoformat("2023-11-14T22:13:20").timestamp()
    assert parse_time(text, local_now_s, "--end") == datetime.fromisoformat(utc_time).timestamp()


def test_times_are_shown_with_their_offset(local_zone: str) -> None:
    """In UTC as Z where that was asked for."""
    assert format_time(NOW_S + 0.5, utc=True) == "2023-11-14 22:13:20.500Z"
    local = {"UTC": "2023-11-14 22:13:20+00:00", "Asia/Kolkata": "2023-11-15 03:43:20+05:30"}
    assert format_time(NOW_S, milliseconds=False) == local[local_zone]


@pytest.mark.parametrize(
    ("start", "end", "step", "last", "error"),
    [
        (None, None, "1s", None, "--step needs --start or --last"),
        ("soon", None, None, None, "--start: neither 14:03:07, -5m, now, RFC 3339 nor Unix seconds: 'soon'"),
        ("25:00:00", None, None, None, "--start: neither"),
        (None, "-5", None, None, "--end: neither"),
        ("-5m", None, "x", None, "--step: not a duration"),
        (None, None, None, "x", "--last: not a duration"),
        ("-5m", None, None, "5m", "--start and --last exclude each other"),
    ],
)
def test_bad_times(start: str | None, end: str | None, step: str | None, last: str | None, error: str) -> None:
    """The flag is named, and the exit status is 2."""
    with pytest.raises(ClientError, match=error) as raised:
        parse_span(start, end, step, NOW_S, last=last)
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
    answer = read_answer(json.dumps({"status": "success", "data": data}).encode())
    assert render_table(answer, RAW).splitlines() == lines


def test_warnings_follow_the_answer() -> None:
    """So that they are not missed."""
    data = {"resultType": "scalar", "result": [NOW_S, "1"]}
    answer = read_answer(json.dumps({"data": data, "warnings": ["w"], "infos": ["i"]}).encode())
    assert render_table(answer, RAW).splitlines() == ["1", "warning: w", "info: i"]


def test_csv_has_a_column_for_each_label() -> None:
    """A row for each sample, values without units; quotes and line ends of a label stay within their cell."""
    result = [
        {"metric": {"__name__": "m_bytes", "a": 'x,"y'}, "values": [[NOW_S, "1024"], [NOW_S + 1, "NaN"]]},
        {"metric": {"b": "\n"}, "values": [[NOW_S, "2"]]},
    ]
    answer = read_answer(json.dumps({"data": {"resultType": "matrix", "result": result}}).encode())
    assert render_csv(answer, AnswerStyle(utc=True)).splitlines() == [
        "time,__name__,a,b,value",
        '2023-11-14T22:13:20.000Z,m_bytes,"x,""y",,1024',
        '2023-11-14T22:13:21.000Z,m_bytes,"x,""y",,NaN',
        "2023-11-14T22:13:20.000Z,,,\\n,2",
    ]


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"data":{"resultType":"x","result":[]}}'])
def test_what_is_not_an_answer_is_an_error(answer: bytes) -> None:
    """A URL of something else is easily given."""
    with pytest.raises(ClientError, match="not Prometheus's JSON"):
        read_answer(answer)


@pytest.mark.parametrize(
    ("expr", "unit"),
    [
        ("m_bytes", "bytes"),
        ("io_read_bytes_total", "bytes"),
        ("wait_seconds_sum", "seconds"),
        ("wait_seconds_count", ""),
        ("wait_seconds_bucket", ""),
        ("process_start_time_seconds", "time"),
        ("processes", ""),
        ("topk(3, m_bytes)", "bytes"),
        ("sum by (comm) (max_over_time(m_bytes{a='b'}[5m]))", "bytes"),
        ("quantile_over_time(0.9, m_bytes[1m])", "bytes"),
        ("max_over_time(sum(m_bytes)[5m:1s])", "bytes"),
        ("rate(io_bytes_total[5s])", "bytes/s"),
        ("rate(cpu_seconds_total[5s])", ""),
        ("increase(cpu_seconds_total[5s])", "seconds"),
        ("count(m_bytes)", ""),
        ("m_bytes / limit_bytes", ""),
        ("m_bytes / 1024", ""),
        ("m_bytes - shared_bytes", "bytes"),
        ("-m_bytes", "bytes"),
        ("m_bytes > 5", "bytes"),
        ("m_bytes > bool 5", ""),
        ("m_bytes or n_bytes", "bytes"),
        ("m_bytes or n_seconds", ""),
        ("m_bytes and on () up", "bytes"),
        ("time() - process_start_time_seconds", "seconds"),
        ("end() - start()", "seconds"),
        ("range()", "seconds"),
        ("{a='b'}", ""),
        ("m_bytes{", ""),
    ],
)
def test_the_unit_of_an_expression(expr: str, unit: str) -> None:
    """By the suffixes of its metrics; none where it is not certain."""
    assert unit_of_expression(expr) == unit


@pytest.mark.parametrize(
    ("text", "unit", "shown"),
    [
        ("314572800", "bytes", "300 MiB"),
        ("-1536", "bytes/s", "-1.5 KiB/s"),
        ("0.00025", "seconds", "250 us"),
        ("0", "seconds", "0 s"),
        ("3725.4", "seconds", "1h2m5s"),
        ("-90", "seconds", "-1m30s"),
        ("1700000000", "time", "2023-11-14 22:13:20.000Z"),
        ("NaN", "bytes", "NaN"),
        ("+Inf", "seconds", "+Inf"),
        ("0.30000000000000004", "", "0.30000000000000004"),
    ],
)
def test_values_for_people(text: str, unit: str, shown: str) -> None:
    """What has no unit, or is no number, is as the API writes it."""
    assert human_number(text, unit, utc=True) == shown  # type: ignore[arg-type]


# -- the command, over a stored run


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten minutes in which memory grows from 0 by 1 MiB a second, up to NOW_S."""
    path = str(tmp_path_factory.mktemp("query") / "run")
    store = Store(StoreOptions(path=path))
    store.announce("c", 0, 0, [column(Family("m_bytes", "gauge", "Memory."), tree="app")])
    for second in range(601):
        store.append_row("c", 0, round(NOW_S - 600 + second) * 1000, row([float(second << 20)]))
    store.close()
    return path


def query(stored_run: str, *args: str) -> Result:
    done = CliRunner().invoke(cli, ["query", f"--source={stored_run}", "--utc", *args])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["m_bytes"], ['m_bytes{tree="app"}  600 MiB']),
        (["m_bytes", "--raw"], ['m_bytes{tree="app"}  629145600']),
        (["sum(m_bytes)", "--end=22:13:00"], ["{}  580 MiB"]),
        (
            ["limitk(1, m_bytes)", "--enable-feature=promql-experimental-functions"],
            ['m_bytes{tree="app"}  600 MiB'],
        ),
        (
            ["m_bytes", "--last=2s"],
            [
                'm_bytes{tree="app"}',
                "  2023-11-14 22:13:18.000Z  598 MiB",
                "  2023-11-14 22:13:19.000Z  599 MiB",
                "  2023-11-14 22:13:20.000Z  600 MiB",
            ],
        ),
        (
            ["m_bytes", "--start=22:13:18", "--end=22:13:20", "--step=2s", "--format=csv"],
            [
                "time,__name__,tree,value",
                "2023-11-14T22:13:18.000Z,m_bytes,app,627048448",
                "2023-11-14T22:13:20.000Z,m_bytes,app,629145600",
            ],
        ),
    ],
)
def test_what_the_command_prints(stored_run: str, args: list[str], lines: list[str]) -> None:
    """`now` is the last moment of the stored run."""
    assert query(stored_run, *args).stdout.splitlines() == lines


def test_json_is_the_answer_of_the_api(stored_run: str) -> None:
    """By either flag."""
    outputs = {query(stored_run, "m_bytes", flag).stdout for flag in ("--json", "--format=json")}
    (output,) = outputs
    assert json.loads(output)["data"]["result"][0]["value"] == [NOW_S, "629145600"]


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("m_byte", ["there is no metric m_byte: did you mean m_bytes?"]),
        ("nothing_like_it", ["there is no metric nothing_like_it"]),
        ("byte", ["there is no metric byte: did you mean m_bytes?"]),
        ("b", ["there is no metric b"]),
        ("m_bytes{tree='x'}", []),
    ],
)
def test_no_data_is_explained(stored_run: str, expr: str, said: list[str]) -> None:
    """What is stored, and what has a name like the one that was asked for."""
    done = query(stored_run, expr)
    assert done.stdout == "(no data)\n"
    span = "there are samples from 2023-11-14 22:03:20Z to 2023-11-14 22:13:20Z"
    assert done.stderr.splitlines() == [f"prom-probe: {line}" for line in (span, *said)]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--source=/nonexistent"], "no such source: '/nonexistent' is not a URL"),
        (["--source=@9999"], "@9999: "),
        (["--source=@last", "--storage.tsdb.path=/x"], "--source and --storage.tsdb.path exclude each other"),
        (["--source=http://h:port"], "not a URL: 'http://h:port'"),
        (["--source=http://h", "--enable-feature=promql-experimental-functions"], "--enable-feature is for what a run"),
        (["--plot"], "--plot needs a range, --last or --start, and no --format"),
        (["--plot", "--last=1m", "--format=csv"], "--plot needs a range"),
    ],
)
def test_flags_that_are_refused(args: list[str], error: str) -> None:
    """A source that is none, and what does not go together: one line that says which."""
    done = CliRunner().invoke(cli, ["query", "up", *args])
    assert isinstance(done.exception, ClientError) and done.exception.status == 2
    assert str(done.exception).startswith(error)


def test_a_stored_run_is_found_by_its_directory(stored_run: str) -> None:
    """By --storage.tsdb.path too."""
    done = CliRunner().invoke(cli, ["query", "m_bytes", f"--storage.tsdb.path={Path(stored_run)}"])
    assert done.stdout == 'm_bytes{tree="app"}  600 MiB\n'
