"""Settings: notation, precedence, and errors that name their place."""

import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.config.address import Address, parse_address
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import OPTIONS, Config
from prom_probe.config.sources import find_config, make_config
from prom_probe.config.target import parse_target
from prom_probe.config.units import format_duration, human_value, parse_duration, parse_size
from prom_probe.config.watch import parse_watch
from prom_probe.model.watch import Watch
from prom_probe.sources.http_page import parse_endpoint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("2h", 7200), ("1d", 86400), ("1w", 604800), ("1y", 31536000), ("0", 0)],
)
def test_durations_are_prometheus_notation(text: str, seconds: float) -> None:
    """The notation of Prometheus's flags."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1.5s", "-1s", "1s1m", " 1s", "1 s", "1S", "abc"])
def test_other_durations_are_refused(text: str) -> None:
    """The error quotes the text."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_a_duration_has_at_most_64_bits_of_nanoseconds() -> None:
    """As in Prometheus; longer ones are more than the kernel's clocks can wait."""
    assert parse_duration("292y") == 292 * 31_536_000
    for text in ("293y", "292y100w", f"{'9' * 5000}ms"):
        with pytest.raises(ValueError, match="must be at most 292y"):
            parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_formatted_duration_reads_back(ms: int) -> None:
    """format_duration and parse_duration agree to the millisecond."""
    assert round(parse_duration(format_duration(ms / 1000)) * 1000) == ms


@pytest.mark.parametrize(("text", "size"), [("512B", 512), ("1KB", 1024), ("32MB", 32 << 20), ("1GiB", 1 << 30)])
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    """As in Prometheus, with and without an i."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "bytes", "0 B"),
        (1023, "bytes", "1023 B"),
        (1024, "bytes", "1 KiB"),
        (129.7 * (1 << 20), "bytes", "129.7 MiB"),
        (-3 << 30, "bytes", "-3 GiB"),
        (2.5 * (1 << 50), "bytes", "2560 TiB"),
        (1.5, "seconds", "1.5 s"),
        (12345678, "", "12345678"),
        (0.123456, "", "0.1235"),
    ],
)
def test_values_for_people(value: float, unit: str, text: str) -> None:
    """Four digits; whole numbers in full."""
    assert human_value(value, unit) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":19990", Address("", 19990)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:80", Address("::1", 80)),
        ("unix:/run/x.sock", Address("", 0, "/run/x.sock")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """An address prints as it was written."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "a=http://h:8000/metrics",
        "a=https://[::1]:8000/x?format=z",
        "a b=http://h",
        "a=unix:/run/x.sock",
        "a=unix:/run/x.sock:/metrics",
    ],
)
def test_targets(text: str) -> None:
    """A target prints as it was written, and the scrape worker accepts its URL."""
    target = parse_target(text)
    assert str(target) == text
    parse_endpoint(target.url)


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=http://h", "a=h:1", "a=ftp://h", "a=http://", "a=http://h:0", "a://b=http://h", "a=unix:"]
)
def test_other_targets_are_refused(text: str) -> None:
    """The error lists the notations."""
    with pytest.raises(ValueError, match="not NAME=http://HOST:PORT/PAGE"):
        parse_target(text)


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("log.level: warn\nscrape: [a=http://h, b=ftp://h]", "line 2: scrape: not NAME=http://HOST:PORT/PAGE"),
        ("scrape:\n  - a=http://h\n  - a=http://i", "line 1: scrape: two targets are called 'a'"),
        ("scrape:\n  sample-limit: 1000001", "line 2: scrape.sample-limit: at most 1000000"),
        ("scrape.expose: ['a(']", "line 1: scrape.expose: not a regular expression"),
    ],
)
def test_faults_of_targets_name_line_and_key(document: str, fault: str, tmp_path: Path) -> None:
    """As `check-config` and a reload report them."""
    path = tmp_path / "c.yml"
    path.write_text(document)
    _, faults = find_config({}, {}, file=str(path))
    assert len(faults) == 1 and faults[0].startswith(f"{path}: {fault}")


@pytest.mark.parametrize("text", ["19990", "host", "host:99999", "::1:80", "unix:", "a b:1", "http://x:1"])
def test_other_addresses_are_refused(text: str) -> None:
    """The error lists the notations."""
    with pytest.raises(ValueError, match="HOST:PORT, :PORT or unix:PATH"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("web", "not NAME=pid:NUMBER"),
        ("web=pid", "not NAME=pid:NUMBER"),
        ("=pid:1", "not NAME=pid:NUMBER"),
        ("web=name:x", "not NAME=pid:NUMBER"),
        ("web=pid:x", "not a PID: 'x'"),
        ("web=pid:0", "not a PID: '0'"),
        ("web=comm:(", "not a regular expression"),
    ],
)
def test_bad_watches_are_refused(text: str, error: str) -> None:
    """Each error says what is wrong."""
    with pytest.raises(ValueError, match=error):
        parse_watch(text)


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    """One struct, filled from four places."""
    file = tmp_path / "prom_probe.yml"
    file.write_text("interval: 3s\nlog:\n  level: warn\n  format: json\nweb.listen-address: [':1', ':2']\n")
    environ = {"PROM_PROBE_INTERVAL": "2s", "PROM_PROBE_LOG_LEVEL": "error", "PROM_PROBE_WATCH": "a=pid:1,b=comm:x"}
    config = make_config({"interval": "1m"}, environ, file=str(file))
    assert (config.interval, config.log_level, config.log_format) == (60, "error", "json")
    assert config.web_listen_address == (Address("", 1), Address("", 2))
    assert config.watch == (Watch("a", "pid", "1"), Watch("b", "comm", "x"))
    assert config.query_timeout == Config().query_timeout


# Each line is the one before ten times over, as "a billion laughs".
LAUGHS = "remote_write:\n- a: &a0 [x]\n" + "".join(
    f"  b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("interval: soon", "interval: not a duration such as 500ms, 1s or 1m30s: 'soon'"),
        ("intervall: 1s", "line 1: intervall: unknown key"),
        ("query:\n  timeot: 1s", "line 2: query.timeot: unknown key"),
        ("interval: [1s]", "interval: takes one value, not a list"),
        ("watch: [{a: b}]", "watch: neither a value nor a list of values"),
        ("- a", "not a mapping"),
        ("a: [", "line 1: expected the node content"),
        ("log.level: warn\nlog:\n  level: info", "line 3: log.level: given twice"),
        ("query: &a {timeout: *a}", "mappings are nested too deeply"),
        ("a: " + "[" * 1000, "lists and mappings are nested too deeply"),
        ("interval: 293y", "interval: a duration must be at most 292y, not '293y'"),
        ("interval: soon\nquery.timeout: x\nfoo: 1", "(and 2 more)"),
        ("? [a]\n: b", "line 1: ?: unknown key"),
        ("? {a: b}\n: {c: d}", "line 2: ?.c: unknown key"),
        ('storage.tsdb.path: "a\\0"', "line 1: storage.tsdb.path: has a NUL character"),
        ("storage: 5", "line 1: storage: unknown key"),
        ("storag:", "line 1: storag: unknown key"),
        (LAUGHS, "line 1: remote_write: has more than 100000 values, with those that its aliases repeat"),
        (f"query.max-concurrency: {'9' * 5000}", "query.max-concurrency: not a whole number above zero: '999"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_key(tmp_path: Path, content: str, error: str) -> None:
    """It has file, key and reason."""
    file = tmp_path / "bad.yml"
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        make_config({}, {}, file=str(file))
    assert str(raised.value).startswith(f"{file}: ")
    assert error in str(raised.value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000


def test_an_empty_section_is_none(tmp_path: Path) -> None:
    """All of its keys are commented out."""
    file = tmp_path / "empty.yml"
    file.write_text("storage:\n  tsdb:\n    # path: /data\nquery: ~\nscrape_configs:\nremote_write:\n")
    assert make_config({}, {}, file=str(file)) == Config()


def test_an_empty_address_means_no_listener() -> None:
    """--api.listen-address= switches the API off."""
    assert make_config({"api.listen-address": [""]}, {}).api_listen_address == ()


def test_features_are_separated_by_commas() -> None:
    """As in Prometheus's flag; others than the known ones are refused."""
    both = ("promql-delayed-name-removal", "promql-experimental-functions")
    for value in (",".join(both), both):
        assert make_config({"enable-feature": value}, {}).enable_feature == both
    with pytest.raises(ConfigError, match=r"^--enable-feature: not one of promql-.*: 'exemplar-storage'$"):
        make_config({"enable-feature": "promql-delayed-name-removal,exemplar-storage"}, {})


def test_errors_name_the_flag_or_the_variable() -> None:
    """A user knows where to look."""
    with pytest.raises(ConfigError, match=r"--query.timeout: not a duration"):
        make_config({"query.timeout": "x"}, {})
    with pytest.raises(ConfigError, match="PROM_PROBE_QUERY_TIMEOUT: not a duration"):
        make_config({}, {"PROM_PROBE_QUERY_TIMEOUT": "x"})


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    """As `${X:-}` in a compose file, or a key without a value, leaves it; an empty flag only where that is nothing."""
    file = tmp_path / "a.yml"
    file.write_text("query.timeout: 7s\nlog.level:\nstorage.tsdb.path: ''\n")
    environ = {"PROM_PROBE_QUERY_TIMEOUT": "", "PROM_PROBE_INTERVAL": "", "PROM_PROBE_WATCH": ""}
    config = make_config({"web.config.file": "", "report": ""}, environ, file=str(file))
    assert config == msgspec.structs.replace(Config(), query_timeout=7.0)
    with pytest.raises(ConfigError, match=r"--query.timeout: not a duration"):
        make_config({"query.timeout": ""}, {})


def test_every_setting_is_an_option_of_the_same_name() -> None:
    """Flag, variable, key and field follow from each other."""
    assert [option.field for option in OPTIONS] == list(Config.__struct_fields__)


def test_a_watch_may_have_any_bytes() -> None:
    """What is not UTF-8 is written as \\xNN, as in the names that it is compared with."""
    text = os.fsdecode(b"caf\xe9=comm:caf\xe9|\xc3\xa9")
    watch = parse_watch(text)
    assert watch.name == "caf\\xe9"
    assert re.fullmatch(watch.value, "caf\\xe9")
    assert re.fullmatch(watch.value, "é")
    assert parse_watch(os.fsdecode(b"x=cgroup:/\xe9")).value == "/\\xe9"
