"""Log lines: what they look like, and how often the same one comes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from prom_probe.log import Log, describe_error
from prom_probe.model.labels import label_value
from tests.support.paths import ROOT


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[], list[str]]:
    """What is written to stderr by descriptor, and only that."""
    file = tmp_path / "stderr"
    fd = os.open(file, os.O_CREAT | os.O_RDWR)
    real = os.write

    def write(target: int, data: bytes) -> int:
        return real(fd if target == 2 else target, data)

    patcher = patch("prom_probe.log.os.write", write)
    patcher.start()

    def read() -> list[str]:
        patcher.stop()
        return file.read_text().splitlines()

    return read


def test_logfmt_has_one_line_with_utc_and_quotes_what_needs_it(lines: Callable[[], list[str]]) -> None:
    """`ts`, `level`, `component`, `msg`, then the fields."""
    Log(component="x")("warn", 'a "b"\nc', file="/tmp/a b", n=3)
    (line,) = lines()
    assert line.startswith("ts=20") and 'Z level=warn component=x msg="a \\"b\\"\\nc" file="/tmp/a b" n=3' in line


def test_json_is_an_object_a_line(lines: Callable[[], list[str]]) -> None:
    """Numbers stay numbers."""
    Log(fmt="json", component="x")("error", "m", n=3, what=ValueError("v"))
    (line,) = lines()
    found = json.loads(line)
    assert found.pop("ts").endswith("Z")
    assert found == {"level": "error", "component": "x", "msg": "m", "n": 3, "what": "v"}


def test_levels(lines: Callable[[], list[str]]) -> None:
    """Below the level nothing is written, and the level can change."""
    log = Log("warn")
    log("info", "no")
    log("warn", "yes")
    log.change("error", "logfmt")
    log("warn", "no")
    assert len(lines()) == 1


def test_the_same_message_is_held_back_and_counted(lines: Callable[[], list[str]]) -> None:
    """Ten in ten seconds; the next one later tells how many there were."""
    log, now = Log(), 0.0
    with patch("prom_probe.log.time.monotonic", lambda: now):
        for _ in range(1000):
            log("warn", "again")
        log("warn", "something else")
        now = 11.0
        log("warn", "again")
        log("warn", "again")
    found = lines()
    assert len(found) == 13
    assert found[11].endswith("repeated=990") and "repeated" not in found[12]


def test_many_different_messages_do_not_grow(lines: Callable[[], list[str]]) -> None:
    """What is remembered is bounded."""
    log = Log()
    for i in range(1000):
        log("warn", f"message {i}")
    assert len(log._seen) <= 100
    assert len(lines()) == 1000


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
