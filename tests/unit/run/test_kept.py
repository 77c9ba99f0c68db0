"""Kept runs: their directories' names, which are removed, and what keeps a run from being kept."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.run import kept
from prom_probe.tsdb.disk import folder
from tests.support.paths import ROOT

QUIET = Log("error")


def make_run(parent: Path, name: str, size: int = 10) -> Path:
    """A run that has ended."""
    path = parent / name
    folder.check(str(path))
    (path / "0000000000000001.log").write_bytes(bytes(size))
    return path


def names(parent: Path) -> list[str]:
    return [run.name for run in kept.list_runs(str(parent))]


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """Runs of four hours, not made in this order."""
    for hour in (12, 10, 13, 11):
        make_run(tmp_path, f"2026-11-30T{hour}-00-00-app", 1000)
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "ending"),
    [
        (["/usr/bin/sleep", "1"], "sleep"),
        (["python3.11", str(ROOT / "grafana" / "build.py"), "--fast"], "build.py"),
        (["bash", "-c", "exit 1"], "bash"),
        (["./odd name\n"], "odd_name_"),
        (["caf\udce9"], "caf_xe9"),
        (["x" * 300], "x" * 64),
    ],
)
def test_a_run_is_called_after_its_start_and_its_command(argv: Sequence[str], ending: str) -> None:
    """An interpreter's script says more than the interpreter."""
    path = kept.maybe_begin(Config(run_keep=10), argv, QUIET)
    assert path is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-" + re.escape(ending) + r"(-\d+)?", Path(path).name)
    assert stat.S_IMODE(Path(path).stat().st_mode) == stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700


def test_runs_that_begin_together_have_different_names() -> None:
    """At least two of these begin in the same second, and later ones come first in the list."""
    made = [kept.maybe_begin(Config(run_keep=10), ["together"], QUIET) for _ in range(12)]
    assert len(set(made)) == 12
    listed = [run.path for run in kept.list_runs(kept.runs_folder()) if "together" in run.name]
    assert listed == made[::-1]


@pytest.mark.parametrize(
    ("keep", "own", "left"),
    [(4, 13, [13, 12, 11, 10]), (2, 13, [13, 12]), (1, 10, [10]), (3, 10, [13, 12, 10])],
)
def test_the_oldest_are_removed_first(four: Path, keep: int, own: int, left: list[int]) -> None:
    """The run that begins stays, and counts."""
    kept.remove_excess(keep, str(four / f"2026-11-30T{own}-00-00-app"))
    assert names(four) == [f"2026-11-30T{hour}-00-00-app" for hour in left]


def test_all_together_have_a_size(four: Path) -> None:
    """The oldest go until the rest fits."""
    one = kept.list_runs(str(four))[0].size
    kept.remove_excess(10, str(four / "2026-11-30T13-00-00-app"), max_bytes=2 * one)
    assert names(four) == ["2026-11-30T13-00-00-app", "2026-11-30T12-00-00-app"]


def test_what_runs_and_what_is_read_stays(four: Path) -> None:
    """Their locks tell; younger ones go in their place."""
    running = folder.open_to_write(str(four / "2026-11-30T10-00-00-app"))
    reading = folder.open_to_read(str(four / "2026-11-30T11-00-00-app"))
    try:
        assert [run.is_running() for run in kept.list_runs(str(four))] == [False, False, False, True]
        kept.remove_excess(3, str(four / "2026-11-30T13-00-00-app"))
        assert names(four) == [f"2026-11-30T{hour}-00-00-app" for hour in (13, 11, 10)]
    finally:
        running.close()
        reading.close()
    assert not any(run.is_running() for run in kept.list_runs(str(four)))


def test_what_is_not_a_run_of_ours_is_left_alone(four: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files, other directories, links."""
    elsewhere = make_run(tmp_path_factory.mktemp("elsewhere"), "2020-01-01T00-00-00-linked")
    (four / "2020-01-01T00-00-00-link").symlink_to(elsewhere)
    (four / "2020-01-01T00-00-00-file").write_text("")
    (four / "notes").mkdir()
    kept.remove_excess(1, str(four / "2026-11-30T13-00-00-app"))
    assert names(four) == ["2026-11-30T13-00-00-app"]
    assert len(list(four.iterdir())) == 4 and (elsewhere / "format").exists()


def test_a_run_with_anything_in_it_but_files_stays(four: Path) -> None:
    """Nothing is removed below its directory."""
    path = four / "2026-11-30T10-00-00-app"
    (path / "below").mkdir()
    assert not kept.remove(str(path)) and (path / "below").is_dir()


@pytest.mark.parametrize(
    ("config", "count"),
    [(Config(run_keep=0), 0), (Config(run_keep=3), 3)],
)
def test_how_many_are_kept_can_be_given(config: Config, count: int) -> None:
    """In a container too."""
    assert kept.how_many(config) == count
    assert (kept.maybe_begin(config, ["app"], QUIET) is not None) == (count > 0)


@pytest.mark.parametrize(("inode", "count"), [(4026531836, 10), (4026532000, 0)])
def test_outside_a_container_ten_are_kept(tmp_path: Path, inode: int, count: int) -> None:
    """A PID namespace of its own is a container's."""
    (tmp_path / "root").mkdir()
    (tmp_path / "proc" / "self" / "ns").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "ns" / "pid").symlink_to(f"pid:[{inode}]")
    assert kept.how_many(Config(path_procfs=str(tmp_path / "proc")), root=str(tmp_path / "root")) == count
    assert ("--run.keep" in kept.why_none(str(tmp_path / "proc"), str(tmp_path / "root"))) == (count == 0)


def test_a_directory_for_the_samples_is_enough() -> None:
    """With --storage.tsdb.path nothing is kept beside."""
    assert kept.maybe_begin(Config(run_keep=10, storage_tsdb_path="/x"), ["app"], QUIET) is None


@pytest.mark.parametrize(
    ("environ", "folder_of_runs"),
    [
        ({"XDG_STATE_HOME": "/s"}, "/s/prom-probe/runs"),
        ({"XDG_STATE_HOME": "relative"}, f"{Path.home()}/.local/state/prom-probe/runs"),
        ({}, f"{Path.home()}/.local/state/prom-probe/runs"),
    ],
)
def test_where_they_are(environ: dict[str, str], folder_of_runs: str) -> None:
    """As the XDG Base Directory Specification has it."""
    assert kept.runs_folder(environ) == folder_of_runs
