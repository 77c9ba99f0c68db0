"""`prom-probe storage verify` and `repair`: each fault is a line, and after a repair there is none."""

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from prom_probe.cli.main import cli
from prom_probe.tsdb.disk import file_ops
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import small_pieces, stored, wait_for_disk
from tests.support.tsdb_tools import drain, gauges, row


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with block files and a log."""
    path = tmp_path_factory.mktemp("cli") / "store"
    with small_pieces():
        store = Store(StoreOptions(path=str(path)))
        store.announce("c", 0, 0, gauges(2))
        for beat in range(100):
            store.append_row("c", 0, beat * 1000, row([beat / 3, 1.0]))
            if beat < 90:
                drain(store, beat * 1000)
            wait_for_disk(store)
        store.close()
    return path


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "store"))


def _storage(command: str, path: Path) -> Result:
    return CliRunner().invoke(cli, ["storage", command, str(path)], prog_name="prom-probe")


def _content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock"}


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def _damage(path: Path) -> tuple[str, str]:
    """Damage a block file and the log's newest segment; returns their names."""
    block, segment = sorted(path.glob("*.block"))[0], max(path.glob("*.log"), key=lambda file: file.stat().st_size)
    _flip(block, block.stat().st_size // 2)
    _flip(segment, segment.stat().st_size // 2)
    return block.name, segment.name


def test_an_intact_store_is_verified(copy: Path) -> None:
    """One line with what it has; nothing is changed, nor by a repair."""
    before = _content(copy)
    blocks, segments = len(list(copy.glob("*.block"))), len(list(copy.glob("*.log")))
    done = _storage("verify", copy)
    assert (done.exit_code, done.stdout) == (
        0,
        f"{copy}: ok: block files {blocks}, log segments {segments}, samples 200\n",
    )
    done = _storage("repair", copy)
    assert (done.exit_code, done.stdout) == (0, f"{copy}: ok: nothing to repair\n")
    assert _content(copy) == before


def test_each_fault_is_a_line_and_is_repaired(copy: Path) -> None:
    """Verifying changes nothing; repairing keeps the damaged files, and what is intact is as before."""
    block, segment = _damage(copy)
    before, there = _content(copy), stored(copy)
    done = _storage("verify", copy)
    assert done.exit_code == 1 and _content(copy) == before
    first, second = sorted(done.stdout.splitlines())
    assert {first.split(": ")[0].rpartition(":")[0], second.split(": ")[0].rpartition(":")[0]} == {
        f"{copy / block}",
        f"{copy / segment}",
    }
    assert "its checksum is wrong; by its header it had" in done.stdout and "bytes damaged, " in done.stdout
    done = _storage("repair", copy)
    assert done.exit_code == 0 and done.stdout.endswith(f"{copy}: repaired\n")
    assert len(done.stdout.splitlines()) == 3
    after = _content(copy)
    assert {name for name in after if name.endswith(".damaged")} == {f"{block}.damaged", f"{segment}.damaged"}
    assert after[f"{block}.damaged"] == before[block] and after[f"{segment}.damaged"] == before[segment]
    assert _storage("verify", copy).exit_code == 0
    assert stored(copy) == there


@pytest.mark.parametrize("content", [None, b"", b"prom_qrobe store 1\n", b"prom_probe store 1"])
def test_a_damaged_format_is_written_anew(copy: Path, content: bytes | None) -> None:
    """Neither `run` nor `query` take such a directory; the repair is told."""
    there = stored(copy)
    (copy / "format").unlink()
    if content is not None:
        (copy / "format").write_bytes(content)
    done = _storage("verify", copy)
    assert done.exit_code == 1 and done.stdout.startswith(f"{copy}/format:0: it ")
    done = _storage("repair", copy)
    assert done.exit_code == 0 and f"{copy}/format: written anew: it " in done.stdout
    assert stored(copy) == there


def _other_version(path: Path) -> str:
    (path / "format").write_text("prom_probe store 2\n")
    return "a store of another version: 'prom_probe store 2' instead of 'prom_probe store 1'"


def _no_store(path: Path) -> str:
    for file in path.iterdir():
        file.unlink()
    (path / "thesis.txt").write_text("x")
    return "there is no store"


@pytest.mark.parametrize("command", ["verify", "repair"])
@pytest.mark.parametrize("change", [_other_version, _no_store])
def test_what_is_no_store_of_ours_is_left_alone(copy: Path, command: str, change: object) -> None:
    """One line, status 1, and not a byte is changed."""
    assert callable(change)
    text = change(copy)
    before = _content(copy)
    error = _storage(command, copy).exception
    assert str(error) == f"{copy}: {text}"
    assert _content(copy) == before


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_a_store_in_use_is_left_alone(copy: Path, command: str) -> None:
    """A running writer keeps it."""
    writer = Store(StoreOptions(path=str(copy)))
    assert f"{copy}: in use by process " in str(_storage(command, copy).exception)
    writer.close()


def test_what_cannot_be_repaired_is_said(copy: Path) -> None:
    """A read-only file system, for instance: status 1, and the damage is told all the same."""
    block, segment = _damage(copy)

    def refuse(folder: int, name: str, new: str) -> None:
        raise OSError(30, "")

    with patch.object(file_ops, "rename", refuse):
        done = _storage("repair", copy)
    assert done.exit_code == 1
    assert done.stdout.count("cannot repair: Read-only file system") == 2
    assert f"{copy / block}: ignored: " in done.stdout and f"{copy / segment}: " in done.stdout
    assert not done.stdout.endswith("repaired\n")


def test_many_damaged_files_are_few_lines_in_the_log(copy: Path) -> None:
    """A dead disk damages them all: the log names twenty, `verify` each."""
    for number in range(1000, 1030):
        (copy / f"{number:016x}-{number:016x}.block").write_bytes(b"junk")
    assert len(_storage("verify", copy).stdout.splitlines()) == 30
    reports: list[str] = []
    store = Store(StoreOptions(path=str(copy)), report=lambda level, text: reports.append(text))
    assert store.stats().damaged == 30
    store.close()
    assert len(reports) == 21 and "prom-probe storage verify" in reports[-1]


def test_a_query_says_what_is_damaged(copy: Path) -> None:
    """On stderr, a line for each file; the answer has what is intact."""
    block, segment = _damage(copy)
    done = CliRunner().invoke(cli, ["query", f"--storage.tsdb.path={copy}", "count_over_time(g[1h])"])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 2
    first, second = sorted(done.stderr.splitlines())
    assert first.startswith(f"prom-probe: storage: {copy / block}: ignored: its checksum is wrong")
    assert second.startswith(f"prom-probe: storage: {copy / segment}: ")


def test_usage_errors_name_the_command() -> None:
    """The group and its command."""
    done = CliRunner().invoke(cli, ["storage", "verify"], prog_name="prom-probe")
    assert done.exit_code == 2 and "prom-probe storage verify" in done.output
