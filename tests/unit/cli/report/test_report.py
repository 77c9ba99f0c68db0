"""`prom-probe report` over a stored run: the file, its policy, its facts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prom_probe.cli.main import cli
from prom_probe.cli.report.document import write_document
from prom_probe.cli.report.samples import METRICS
from prom_probe.web.page.static import FOLDER
from tests.support.report_reader import unpack
from tests.support.stored_runs import MIB, START_S, make_stored_run


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_stored_run(tmp_path_factory.mktemp("report") / "run-1")


def report(*args: str) -> Result:
    return CliRunner().invoke(cli, ["report", *args])


def recording(page: str) -> bytes:
    found = re.search(r'id="recording">([^<]*)</script>', page)
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1]))


def test_the_file_has_every_sample(stored: str, tmp_path: Path) -> None:
    """At each second of the minute: what the tree had and used."""
    path = tmp_path / "run.html"
    done = report(stored, "-o", str(path))
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"wrote {path}" in done.stderr
    about, series = unpack(recording(path.read_text()))
    assert about["run"]["command"] == ["python", "train.py"]
    assert [process["pid"] for process in about["processes"]] == [8, 7]
    by_name = {name: dict(zip(times, values, strict=True)) for name, _, _, times, values in series}
    seconds = [round((START_S + second) * 1000) for second in range(1, 61)]
    memory = by_name["proctree_resident_memory_bytes"]
    assert list(memory) == seconds
    assert memory[seconds[9]] == 300 * MIB
    assert by_name["proctree_cpu_seconds_total"][seconds[59]] == pytest.approx(30.0)  # both modes
    assert by_name["proctree_io_read_bytes_total"][seconds[59]] == 60 * MIB


def test_its_policy_allows_its_own_scripts_and_nothing_else(stored: str) -> None:
    """Each inline script and style by its hash; no address is loaded, so it opens without network."""
    page = report(stored, "-o", "-").stdout
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none'; script-src 'sha256-")
    inline = re.findall(r"<(script|style)(?: type=\"module\")?>(.*?)</\1>", page, re.DOTALL)
    assert [kind for kind, _ in inline] == ["style", "script", "script"]
    for _, text in inline:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy[1]
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_words_of_strangers_are_text() -> None:
    """A command's name cannot open an element, nor end the data's."""
    hostile = "<img onerror=x></script>"
    page = b"".join(write_document(hostile, [(hostile, hostile)], hostile.encode())).decode()
    assert hostile not in page
    assert page.count("&lt;img onerror=x&gt;&lt;/script&gt;") == 3


def test_the_facts_for_machines(stored: str, tmp_path: Path) -> None:
    """On stdout, or into a file."""
    done = report(stored, "--format=json")
    facts = json.loads(done.stdout)
    assert (facts["memory_peak_bytes"], facts["exit_status"]) == (300 * MIB, 0)
    assert report(stored, "--format=csv").stdout.startswith("fact,unit,")
    assert report(stored, "--format=md", f"--output={tmp_path / 'facts.md'}").stdout == ""
    assert "| peak memory | 300 MiB |" in (tmp_path / "facts.md").read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{run}", "-o", "{tmp}/none/run.html"], "none/run.html: No such file or directory"),
        (["{run}", "--tree=other"], "no tree is called 'other'"),
        (["{tmp}/none"], "no such source"),
    ],
)
def test_what_cannot_be_done_is_said(stored: str, tmp_path: Path, args: list[str], words: str) -> None:
    """In one line, and no half of a file is left."""
    done = report(*(each.format(run=stored, tmp=tmp_path) for each in args))
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_what_the_page_shows_is_in_the_file() -> None:
    """Each metric of the page's lines and values, as a counter where the page shows it by the second."""
    kinds = {
        name: kind == "true" or call == "rate"
        for file in ("panels.js", "report_source.js")
        for call, name, kind in re.findall(
            r"(?:(line|rate)\(|metric: )'(\w+)'(?:, rate: (true|false))?", (Path(FOLDER) / file).read_text()
        )
    }
    assert kinds == {metric.name: metric.counter for metric in METRICS}
