"""The sdist and the wheel: what is in them, and that an installation from the wheel alone does what README says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from prom_probe import __version__
from tests.deploy.tools import ROOT, python_with, run
from tests.docs.pages import read
from tests.docs.shell import Shell
from tests.support.waiting import DEADLINE_S

TOOLS = ("build==1.3.0", "hatchling==1.27.0", "twine==6.2.0", "check-wheel-contents==0.6.3")
# What an sdist has of the checkout.
SHIPPED = ("prom_probe", "tests", "bench", "grafana", "docs", "deploy")


def _pythons() -> list[str]:
    """The versions of Python that this machine has."""
    found = []
    for version in ("3.11", "3.12", "3.13", "3.14", "3.14t"):
        try:
            done = subprocess.run([f"python{version}", "-c", ""], capture_output=True, timeout=DEADLINE_S)
        except OSError:
            continue
        if done.returncode == 0:
            found.append(version)
    return found


PYTHONS = _pythons()


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run([*python_with(*TOOLS), "-m", "build", "--no-isolation", "--outdir", folder, ROOT])
    return folder


def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def tracked(*folders: str) -> set[str]:
    return set(run(["git", "ls-files", *folders]).splitlines())


def test_the_sdist_has_the_checkout(dist: Path) -> None:
    """Every file under version control of the folders that are for readers and packagers."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked(*SHIPPED) - names == set()
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "Makefile"} <= names


def test_the_wheel_has_the_package_and_no_more(dist: Path) -> None:
    """And the dashboards that `prom-probe dashboards export` writes."""
    names = {name for name in zipfile.ZipFile(wheel(dist)).namelist() if ".dist-info/" not in name}
    dashboards = {f"prom_probe/_dashboards/{Path(name).name}" for name in tracked("grafana/dashboards")}
    assert names == tracked("prom_probe") | dashboards


def test_the_index_would_take_them(dist: Path) -> None:
    """`twine check --strict` and `check-wheel-contents` have nothing against them."""
    said = run([*python_with(*TOOLS), "-m", "twine", "check", "--strict", *dist.iterdir()])
    assert said.count("PASSED") == 2
    check = [*python_with(*TOOLS), "-m", "check_wheel_contents", "--config", ROOT / "pyproject.toml", wheel(dist)]
    assert "OK" in run(check)


def pip(folder: Path) -> list[str | Path]:
    """Ours, for the environment in `folder`: one of its own would take longer to install than all the rest."""
    python = folder / "bin" / "python"
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", python]


def installed(dist: Path, version: str, folder: Path) -> Path:
    """The programs of a clean environment with nothing but the wheel and what it asks for."""
    subprocess.run([f"python{version}", "-m", "venv", "--without-pip", folder], check=True, timeout=2 * DEADLINE_S)
    subprocess.run([*pip(folder), "install", "--no-compile", wheel(dist)], check=True, timeout=5 * DEADLINE_S)
    subprocess.run([*pip(folder), "check"], check=True, timeout=DEADLINE_S)
    return folder / "bin"


@pytest.mark.parametrize("version", PYTHONS)
def test_it_is_installed_used_and_removed(dist: Path, version: str, tmp_path: Path) -> None:
    """On each Python here: it says its version, sees a process, and leaves nothing behind."""
    programs = installed(dist, version, tmp_path / "venv")
    env = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}
    assert __version__ in run([programs / "prom-probe", "version"], env=env, cwd=tmp_path)
    once: list[str | Path] = [
        programs / "prom-probe",
        "once",
        f"--watch=me=pid:{os.getpid()}",
        "--interval=100ms",
        "--json",
    ]
    assert '"me"' in json.dumps(json.loads(run(once, env=env, cwd=tmp_path)))
    run([programs / "prom-probe", "dashboards", "export", tmp_path / "out"], env=env, cwd=tmp_path)
    assert len(list((tmp_path / "out").iterdir())) == len(tracked("grafana/dashboards"))
    run([*pip(tmp_path / "venv"), "uninstall", "--yes", "prom-probe"], env=env, cwd=tmp_path)
    assert not (programs / "prom-probe").exists()
    assert not list((tmp_path / "venv").rglob("prom_probe*"))


@pytest.mark.skipif(sys.platform != "linux", reason="what the pages show is Linux's")
def test_readme_holds_for_the_wheel_alone(dist: Path, tmp_path: Path) -> None:
    """Each of its commands, where the checkout's package cannot be imported."""
    programs = installed(dist, f"3.{sys.version_info.minor}", tmp_path / "venv")
    (tmp_path / "page").mkdir()
    with Shell(read("README.md"), tmp_path / "page", programs=programs) as shell:
        shell.run_all()
    assert shell.ran > 10
    found = run([programs / "python", "-c", "import prom_probe; print(prom_probe.__file__)"], cwd=tmp_path / "page")
    assert found.startswith(str(tmp_path / "venv")), found
    assert re.match(r"3\.\d+", run([programs / "python", "-c", "import platform; print(platform.python_version())"]))
