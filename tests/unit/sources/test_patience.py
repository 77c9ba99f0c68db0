"""A file that never answers costs its own readings, and those of others only once a short wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.patience import PatientReader
from prom_probe.sources.reading import NOTE_BYTES, READING, read_hung
from tests.support.waiting import wait_for


@pytest.fixture
def note() -> memoryview:
    note = memoryview(bytearray(NOTE_BYTES))
    READING.share(note, "/proc", {})
    return note


def test_a_file_is_read_as_it_is_without_a_thread(tmp_path: Path) -> None:
    """What it says, and what is wrong with it."""
    reader = PatientReader(read_once)
    (tmp_path / "a").write_bytes(b"one\0two")
    assert [reader.read(str(tmp_path / "a")) for _ in range(3)] == [b"one\0two"] * 3
    with pytest.raises(FileNotFoundError):
        reader.read(str(tmp_path / "b"))
    assert reader.read(str(tmp_path / "a")) == b"one\0two"


def test_a_file_that_hangs_is_left_out_until_it_answers(tmp_path: Path, note: memoryview) -> None:
    """With the others of its process that wait for the same lock; those of other processes are read."""
    for pid in ("7", "8"):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "smaps_rollup").write_bytes(b"sizes")
    os.mkfifo(tmp_path / "8/cmdline")
    (tmp_path / "7/cmdline").write_bytes(b"app")
    reader = PatientReader(read_once, patience_s=0.2)
    for name in ("cmdline", "smaps_rollup", "cmdline"):
        with pytest.raises(TimeoutError, match=f"does not answer: .*/8/{name}"):
            reader.read(str(tmp_path / "8" / name))
    assert read_hung(note) == str(tmp_path / "8/cmdline")
    assert reader.read(str(tmp_path / "7/cmdline")) == b"app"
    os.close(os.open(tmp_path / "8/cmdline", os.O_WRONLY))  # it answers the one that waits
    (tmp_path / "8/cmdline").unlink()
    (tmp_path / "8/cmdline").write_bytes(b"child")
    wait_for("an answer", lambda: _try(reader, tmp_path / "8/cmdline") == b"child")
    assert read_hung(note) == ""


def test_so_many_threads_hang_and_no_more(tmp_path: Path) -> None:
    """Then nothing is read that might hang, until one answers."""
    reader = PatientReader(read_once, patience_s=0.05)
    for number in range(8):
        os.mkfifo(tmp_path / f"{number}")
        with pytest.raises(TimeoutError):
            reader.read(str(tmp_path / f"{number}"))
    (tmp_path / "a").write_bytes(b"one")
    assert _try(reader, tmp_path / "a") == b""
    os.close(os.open(tmp_path / "3", os.O_WRONLY))
    wait_for("an answer", lambda: _try(reader, tmp_path / "a") == b"one")


def _try(reader: PatientReader, path: Path) -> bytes:
    try:
        return reader.read(str(path))
    except TimeoutError:
        return b""
