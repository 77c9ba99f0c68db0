"""Log lines: their format, and how often the same one is written."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
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


class Unprintable:
    def __str__(self) -> str:
        raise AttributeError("no text")


@pytest.mark.parametrize("fmt", ["logfmt", "json"])
def test_a_field_that_cannot_be_written_costs_itself(sink: Sink, fmt: str) -> None:
    """What is not UTF-8, has no text or is too large a number does not raise."""
    sink.log(fmt=fmt)("error", "m", path="caf\udce9", what=Unprintable(), n=1 << 64)
    (line,) = sink.lines()
    assert "caf" in line and "udce9" in line
    assert "<Unprintable: AttributeError>" in line
    assert str(1 << 64) in line


@pytest.mark.parametrize(
    "text", ["\x1b]0;t\x07", "\x9b2J", "a\u202eb", "\u2066x\u2069", "a\nb", "\u2028", "\x7f", "\u200b"]
)
@pytest.mark.parametrize("fmt", ["logfmt", "json"])
def test_text_that_a_terminal_would_act_on_is_escaped(sink: Sink, fmt: str, text: str) -> None:
    """In messages and in fields; in JSON the text is still the same."""
    sink.log(fmt=fmt)("error", text, path=text)
    (line,) = sink.lines()
    assert line.isprintable()
    if fmt == "json":
        found = json.loads(line)
        assert (found["msg"], found["path"]) == (text, text)


@pytest.mark.parametrize("fmt", ["logfmt", "json"])
def test_a_line_is_no_longer_than_a_pipe_takes_at_once(sink: Sink, fmt: str) -> None:
    """Long texts are cut, and what the line is about is kept."""
    sink.log(fmt=fmt)("error", "m" * 10_000, path="\0" * 10_000, n=7)
    (line,) = sink.lines()
    assert len(line.encode()) < 4096
    assert "…" in line
    assert "path" in line
    assert line.endswith("n=7") if fmt == "logfmt" else json.loads(line)["n"] == 7


@pytest.fixture
def stuck() -> Iterator[tuple[int, int]]:
    """A pipe that is full; its reading end first."""
    read_fd, fd = os.pipe()
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    os.write(fd, b"x" * 4096)
    yield read_fd, fd
    os.close(read_fd)
    os.close(fd)


def test_dropped_lines_are_counted_and_told_when_lines_can_be_written_again(stuck: tuple[int, int]) -> None:
    """Once, before the first that is written."""
    read_fd, fd = stuck
    log = Log(component="x", fd=fd)
    log("info", "before the cell")
    cell = memoryview(bytearray(8)).cast("Q")
    log.count_drops(cell)
    log("info", "a")
    log("info", "b")
    assert cell[0] == 3
    os.read(read_fd, 4096)
    log("info", "c")
    log("info", "d")
    told, c, d = os.read(read_fd, 4096).decode().splitlines()
    assert told.endswith('level=warn component=x msg="log lines dropped: they could not be written" lines=3')
    assert c.endswith("msg=c") and d.endswith("msg=d")
    assert cell[0] == 3


def test_a_line_written_in_part_does_not_spoil_the_next(tmp_path: Path) -> None:
    """As at the end of a full disk, here of a file that may not grow."""
    script = (
        "import os, resource, sys; from prom_probe.log import Log\n"
        "fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
        "limits = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))\n"
        "log = Log(fd=fd)\n"
        "log('info', 'torn'); log('info', 'lost')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limits)\n"
        "log('info', 'whole')\n"
    )
    path = tmp_path / "stderr"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    torn, told, whole = path.read_text().splitlines()
    assert len(torn) == 20
    assert told.startswith("ts=") and told.endswith("lines=2")
    assert whole.startswith("ts=") and whole.endswith("msg=whole")


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


def test_what_others_raise_is_told_with_the_line_of_ours_that_called_them() -> None:
    """Not with a place deep in a library."""

    def broken() -> Iterator[tuple[str, str]]:
        raise AttributeError("no labels")
        yield

    with pytest.raises(AttributeError) as caught:
        label_value(broken(), "job")  # type: ignore[arg-type]
    assert " at model/labels.py:" in describe_error(caught.value)


def test_an_error_that_was_never_raised_has_no_place() -> None:
    """There is no traceback to look at."""
    assert describe_error(ValueError("v")) == "ValueError: v"
