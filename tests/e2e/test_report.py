"""The report of a real run, opened from the disk in Debian's chromium without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Chromium
from tests.support.waiting import DEADLINE_S

MIB = 1 << 20
SHARD_MIB = 250
LISTEN = ("--web.listen-address=", "--api.listen-address=127.0.0.1:0")

# Five children that live for two seconds each; the third has 250 MiB and tells its peak as the kernel counts it. The
# first is called like a tag.
PROGRAM = f"""
import json, os, sys, time

for number in range(5):
    pid = os.fork()
    if pid == 0:
        open("/proc/self/comm", "w").write("<b>shard" if number == 0 else f"shard-{{number}}")
        block = bytearray(b"x") * (({SHARD_MIB} if number == 2 else 4) << 20)
        time.sleep(2)
        if number == 2:
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            peak = int(status["VmHWM"].split()[0]) << 10
            open(sys.argv[1], "w").write(json.dumps({{"pid": os.getpid(), "peak": peak}}))
        os._exit(0)
    os.waitpid(pid, 0)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A report that `run` has written, and what was true."""
    folder = tmp_path_factory.mktemp("report")
    path, truth = folder / "run.html", folder / "truth.json"
    argv = [sys.executable, "-m", "prom_probe", "run", *LISTEN, f"--report={path}", "--run.keep=0"]
    done = subprocess.run(
        [*argv, "--", sys.executable, "-c", PROGRAM, str(truth)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert done.returncode == 7, done.stderr
    assert sorted(each.name for each in folder.iterdir()) == ["run.html", "truth.json"]  # what was stored is gone
    return path, json.loads(truth.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as chromium:
        chromium.size(1280, 900)
        yield chromium


@pytest.fixture
def page(reported: tuple[Path, dict[str, int]], browser: Chromium) -> Iterator[Chromium]:
    """The report as a person opens it; afterwards nothing may have been complained of, nor asked of anybody."""
    path, _ = reported
    browser.events.clear()
    browser.open("about:blank")
    browser.open(path.as_uri())
    browser.wait("a table", "document.querySelectorAll('#processes tbody tr').length >= 2")
    yield browser
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", "about:"))] == [path.as_uri()]


def names(page: Chromium) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('#processes tbody .name')].map((each) => each.innerText)"
    )
    return found


def test_it_opens_at_the_peak_with_the_culprit_first(page: Chromium) -> None:
    """No action at all: the moment of the run's peak is chosen, and the largest process is on top."""
    assert names(page)[0] == "shard-2"
    assert "shard-2" in page.text("#place-memory")


def test_its_peak_is_the_kernel_s(page: Chromium, reported: tuple[Path, dict[str, int]]) -> None:
    """That of the child, within a hundredth of VmHWM; in the facts, and in the data."""
    _, truth = reported
    facts = page.text(".facts")
    shown = float(facts.split(f"shard-2 {truth['pid']}: ")[1].split(" MiB")[0])
    assert shown * MIB == pytest.approx(truth["peak"], rel=0.01)
    assert "exit status 7" in facts


def test_any_moment_can_be_chosen(page: Chromium) -> None:
    """By a key, over the file's own data: the run's first second, then ten on."""
    page.key("Home")
    page.wait("the first second", "!document.querySelector('#processes').innerText.includes('shard-2')")
    page.key("m")
    page.wait("the peak again", "document.querySelector('#processes tbody .name')?.innerText === 'shard-2'")


def test_a_hostile_name_is_text(page: Chromium) -> None:
    """Where its process is listed: at the first seconds."""
    page.key("Home")
    page.key("ArrowRight")
    page.key("ArrowRight")
    page.wait("its name", "document.querySelector('#processes').innerText.includes('<b>shard')")
    assert page.evaluate("document.querySelectorAll('b').length") == 0


def test_a_report_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    """COMMAND's status is ours, and one line says why there is none."""
    path = tmp_path / "none" / "run.html"
    argv = [sys.executable, "-m", "prom_probe", "run", *LISTEN, f"--report={path}", "--run.keep=0", "--", "false"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=DEADLINE_S, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 1
    assert f"{path}: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
