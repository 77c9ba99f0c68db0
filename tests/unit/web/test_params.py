"""Parameters: forms, times, durations, limits, escaped names, accepted encodings."""

from __future__ import annotations

import gzip as stdlib_gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.web.api.params import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    limit_param,
    parameters_of,
    parse_duration,
    parse_time,
    unescape_name,
    unquote,
)
from prom_probe.web.api.reply import ApiError
from prom_probe.web.http.encoding import accepts_gzip, gzip, gzip_pieces
from prom_probe.web.http.message import Request

FORM = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("4", 4000),
        ("1435781451.781", 1435781451781),
        ("1e3", 1_000_000),
        ("-1.5", -1500),
        (".5", 500),
        ("2015-07-01T20:10:51.781Z", 1435781451781),
        ("2015-07-01t20:10:51.781z", 1435781451781),
        ("2015-07-01T22:10:51.781999999+02:00", 1435781451781),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", -62135596800000),
        ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
        ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS),
    ],
)
def test_times(text: str, ms: int) -> None:
    """Decimal seconds and RFC 3339, in milliseconds."""
    assert parse_time(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "x", "nan", "inf", "1_000", " 1", "1e300", "2015-07-01", "2015-02-31T00:00:00Z", "2015-07-01T20:10:51", "१"],
)
def test_bad_times(text: str) -> None:
    """Prometheus's words for an invalid time."""
    with pytest.raises(ValueError, match=f'cannot parse "{text}" to a valid timestamp'):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("15", 15_000),
        ("0.5", 500),
        ("1m30s", 90_000),
        ("1m0s", 60_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("1y2w3d4h5m6s7ms", 365 * 86_400_000 + 14 * 86_400_000 + 3 * 86_400_000 + 14_706_007),
        ("0", 0),
        ("-5", -5000),
    ],
)
def test_durations(text: str, ms: int) -> None:
    """Decimal seconds and Prometheus's notation, in milliseconds."""
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "x", "1s1m", "5 m", "1.5h", "m", "-5m", "1e30", "300y"])
def test_bad_durations(text: str) -> None:
    """Prometheus's words for a duration that is invalid or too long."""
    with pytest.raises(ValueError, match=f'cannot parse "{text}" to a valid duration'):
        parse_duration(text)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("job", "job"),
        ("U__a_2e_b", "a.b"),
        ("U__a__b", "a_b"),
        ("U__f_1F600_", "f\U0001f600"),
        ("U__", ""),
        ("U__a_", "U__a_"),
        ("U__a_zz_", "U__a_zz_"),
        ("U__a_d800_", "U__a_d800_"),
        ("U__a_FFFFFF_", "U__a_FFFFFF_"),
        ("u__a_2e_b", "u__a_2e_b"),
    ],
)
def test_escaped_names(name: str, plain: str) -> None:
    """`U__` names are decoded; badly escaped ones stay as they are."""
    assert unescape_name(name) == plain


def test_body_and_url_are_merged_and_the_body_comes_first() -> None:
    """vmalert posts URL parameters with an empty body; Grafana posts forms."""
    form = parameters_of(Request("POST", "/", b"query=url&time=1", FORM, b"query=body&match[]=a"))
    assert (form.get("query"), form.get("time"), form.get("nope", "-")) == ("body", "1", "-")
    asked = parameters_of(Request("GET", "/", b"query=sum(up)+%2B+1&time=1.5&query=second"))
    assert (asked.get("query"), asked.get("time")) == ("sum(up) + 1", "1.5")
    assert asked.all("query") == ["sum(up) + 1", "second"]
    with pytest.raises(ApiError, match="invalid URL escape"):
        parameters_of(Request("GET", "/", b"query=up%zz"))
    assert parameters_of(Request("POST", "/", b"match[]=b", FORM, b"match[]=a")).all("match[]") == ["a", "b"]
    assert (
        parameters_of(Request("POST", "/", b"query=url", {"content-type": "application/json"}, b"query=x")).get("query")
        == "url"
    )


MULTIPART = {"content-type": 'multipart/form-data; boundary="x y"'}


def _part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--x y\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def test_multipart_forms() -> None:
    """What curl -F sends: text parts are parameters after the URL's, files are not."""
    body = _part("query", 'up{a="é"}\r\n+ 1'.encode()) + _part("match[]", b"b") + _part("f", b"x", '; filename="f"')
    found = parameters_of(Request("POST", "/", b"time=1&match[]=a", MULTIPART, body + b"--x y--\r\n"))
    assert (found.get("query"), found.get("time"), found.get("f", "-")) == ('up{a="é"}\r\n+ 1', "1", "-")
    assert found.all("match[]") == ["a", "b"]


NESTED = b"".join(b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (i, i + 1) for i in range(1500))
BAD_MULTIPART = [
    (b"x", "multipart/form-data", "malformed multipart/form-data"),
    (b"query=up", MULTIPART["content-type"], "malformed multipart/form-data"),
    (_part("query", b"up"), MULTIPART["content-type"], "malformed multipart/form-data"),
    (_part("a", b"1", "; name*") + b"--x y--\r\n", MULTIPART["content-type"], "malformed multipart/form-data"),
    (NESTED, "multipart/form-data; boundary=0", "malformed multipart/form-data"),
    (_part("query", b"\xff") + b"--x y--\r\n", MULTIPART["content-type"], "invalid UTF-8"),
    (_part("a", b"1") * 1001 + b"--x y--\r\n", MULTIPART["content-type"], "more than 1000 parts"),
]


@pytest.mark.parametrize(("body", "content_type", "message"), BAD_MULTIPART)
def test_bad_multipart_forms(body: bytes, content_type: str, message: str) -> None:
    """Without a boundary, an end or text; with a parameter cut short; nested too deeply; too many parts."""
    with pytest.raises(ApiError, match=message):
        parameters_of(Request("POST", "/", b"", {"content-type": content_type}, body))


@pytest.mark.parametrize(
    ("raw", "plain"),
    [(b"a+b", "a b"), (b"a%2Bb", "a+b"), (b"%E2%82%AC", "€"), (b"%7b%7D", "{}"), (b"", ""), (b"%25%25", "%%")],
)
def test_percent_decoding(raw: bytes, plain: str) -> None:
    """Forms have `+` for a space."""
    assert unquote(raw, plus=True) == plain


@pytest.mark.parametrize(
    ("raw", "reason"), [(b"%zz", 'URL escape "%zz"'), (b"%4", 'URL escape "%4"'), (b"%ff", "UTF-8"), (b"\xff", "UTF-8")]
)
def test_bad_percent_encoding(raw: bytes, reason: str) -> None:
    """Bad escapes, and bytes that are not UTF-8."""
    with pytest.raises(ApiError, match=reason):
        unquote(raw)


@pytest.mark.parametrize(("text", "limit"), [("", 0), ("0", 0), ("40000", 40_000), ("+3", 3)])
def test_limits(text: str, limit: int) -> None:
    """No limit is 0."""
    assert limit_param(parameters_of(Request("GET", "/", b"limit=" + text.encode().replace(b"+", b"%2B")))) == limit


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1", "limit must be non-negative"),
        ("x", "invalid syntax"),
        ("1.5", "invalid syntax"),
        ("9" * 30, "invalid syntax"),
    ],
)
def test_bad_limits(text: str, reason: str) -> None:
    """A limit is a whole number, and not negative."""
    with pytest.raises(ApiError, match=reason):
        limit_param(parameters_of(Request("GET", "/", b"limit=" + text.encode())))


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_form_or_a_clear_error(raw: bytes) -> None:
    """Nothing but ApiError comes out."""
    try:
        parameters_of(Request("POST", "/", raw, FORM, raw))
    except ApiError as error:
        assert error.kind == "bad_data"


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_clear_error(text: str) -> None:
    """Nothing but ValueError comes out, and times stay within bounds."""
    for parse in (parse_time, parse_duration):
        try:
            assert abs(parse(text)) <= 1 << 53
        except ValueError as error:
            assert str(error).startswith("cannot parse")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0.5, *;q=0", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=x", False),
        ("x-gzip", True),
        ("gzipped", False),
        (";;,,=", False),
    ],
)
def test_accept_encoding(header: str, wanted: bool) -> None:
    """By name or by `*`, where the weight is above 0."""
    assert accepts_gzip(header) is wanted


@settings(max_examples=30)
@given(st.lists(st.binary(min_size=1, max_size=2000), max_size=10))
def test_gzip_round_trip(pieces: list[bytes]) -> None:
    """Whole or in pieces, the standard library reads it back."""
    assert stdlib_gzip.decompress(b"".join(gzip_pieces(pieces))) == b"".join(pieces)
    assert stdlib_gzip.decompress(gzip(b"".join(pieces))) == b"".join(pieces)
