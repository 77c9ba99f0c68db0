"""Log lines: their format, and how often the same one is written."""

import json
import os
from pathlib import Path

import pytest

from prom_probe.log import Log, describe_error
from prom_probe.model.labels import label_value
from tests.support.paths import ROOT


class Sink:
    """A log's file, and its clock."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self.now = 0.0

    def log(self, level: str = "info", fmt: str = "logfmt") -> Log:
        return Log(level, fmt, "x", fd=self.fd, now_s=lambda: self.now)

    def lines(self) -> list[str]:
        return os.pread(self.fd, 1 << 20, 0).decode().splitlines()


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return Sink(tmp_path / "stderr")


def test_logfmt_has_one_line_with_utc_and_quotes_what_needs_it(sink: Sink) -> None:
    """`ts`, `level`, `component`, `msg`, then the fields."""
    sink.log()("warn", 'a "b"\nc', file="/tmp/a b", n=3)
    (line,) = sink.lines()
    assert line.startswith("ts=20")
    assert 'Z level=warn component=x msg="a \\"b\\"\\nc" file="/tmp/a b" n=3' in line


def test_json_is_an_object_a_line(sink: Sink) -> None:
    """Numbers stay numbers."""
    sink.log(fmt="json")("error", "m", n=3, what=ValueError("v"))
    (line,) = sink.lines()
    found = json.loads(line)
    assert found.pop("ts").endswith("Z")
    assert found == {"level": "error", "component": "x", "msg": "m", "n": 3, "what": "v"}


def test_levels(sink: Sink) -> None:
    """Below the level nothing is written, and the level can change."""
    log = sink.log("warn")
    log("info", "no")
    log("warn", "yes")
    log.change("error", "logfmt")
    log("warn", "no")
    assert len(sink.lines()) == 1


def test_another_component_writes_to_the_same_place(sink: Sink) -> None:
    """With its own name."""
    sink.log().named("worker")("info", "m")
    (line,) = sink.lines()
    assert "component=worker" in line


def test_a_closed_stderr_raises_nothing(sink: Sink) -> None:
    """A worker lives without its log."""
    log = sink.log()
    os.close(sink.fd)
    log("error", "m")


def test_the_same_message_is_held_back_and_counted(sink: Sink) -> None:
    """Ten in ten seconds are written; the next one has the number of the others."""
    log = sink.log()
    for _ in range(1000):
        log("warn", "again")
    log("warn", "something else")
    sink.now = 9.9
    log("warn", "again")
    sink.now = 10.0
    log("warn", "again")
    log("warn", "again")
    lines = sink.lines()
    assert len(lines) == 13
    assert lines[11].endswith("repeated=991")
    assert "repeated" not in lines[12]


def test_many_different_messages_do_not_grow(sink: Sink) -> None:
    """What is remembered is bounded."""
    log = sink.log()
    for i in range(1000):
        log("warn", f"message {i}")
    assert len(log._seen) <= 100
    assert len(sink.lines()) == 1000


def test_a_bug_is_told_with_the_place_that_raised_it() -> None:
    """The path is relative to the package."""
    source = (ROOT / "prom_probe/model/labels.py").read_text().splitlines()
    line = next(n for n, text in enumerate(source[22:], 23) if text.startswith("    for key, value in labels:"))
    with pytest.raises(TypeError) as caught:
        label_value(1, "job")  # type: ignore[arg-type]
    assert describe_error(caught.value) == f"TypeError: 'int' object is not iterable at model/labels.py:{line}"


class Unprintable:
    def __str__(self) -> str:
        raise AttributeError("no text")


def test_what_others_raise_is_told_with_the_line_of_ours_that_called_them() -> None:
    """Not with a place deep in a library."""
    with pytest.raises(AttributeError) as caught:
        Log("info", "json")("info", "m", what=Unprintable())
    assert " at log.py:" in describe_error(caught.value)


def test_an_error_that_was_never_raised_has_no_place() -> None:
    """There is no traceback to look at."""
    assert describe_error(ValueError("v")) == "ValueError: v"
