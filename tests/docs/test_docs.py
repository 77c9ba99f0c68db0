"""Every command in README and docs does what the page says; links, flags and metrics that it names are there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from prom_probe.cli.main import cli
from prom_probe.cli.metrics_doc import OWN
from prom_probe.collectors.catalogue import DEFINITIONS
from prom_probe.collectors.scrape.families import REPORT
from tests.deploy.tools import tool
from tests.docs.elsewhere import ELSEWHERE
from tests.docs.pages import PAGES, Page, commands, read
from tests.docs.shell import Failed, Shell
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what the pages show is Linux's")

# Ours, and of the kernel, that look like metrics.
NO_METRICS = (
    "prom_probe",
    "prom_probe_version",  # of status/buildinfo
    "gpu_metrics",
    "gpu_nvidia",
    "gpu_instance",
    "gpu_processes",
    "scrape_pools",
    *(f"scrape_{key}" for key in ("configs", "interval", "timeout", "protocols")),  # Prometheus's keys
)

WITH_COMMANDS = [path for path in PAGES if any(True for block in read(path).blocks for _ in commands(block))]


@pytest.mark.parametrize("path", WITH_COMMANDS)
def test_every_command_does_what_its_page_says(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the page's order, in a folder of its own, as a reader would type them."""
    page = read(path)
    if re.search(r"^(?:kubectl|helm) ", page.text, re.MULTILINE):
        monkeypatch.setenv("PATH", f"{tool('kubectl').parent}:{tool('helm').parent}", prepend=":")
    with Shell(page, tmp_path) as shell:
        shell.run_all()
    assert shell.ran


def test_what_is_not_run_as_it_stands_is_on_a_page() -> None:
    """No row of the table is left over."""
    found = [command.text for path in PAGES for block in read(path).blocks for command in commands(block)]
    for row in ELSEWHERE:
        assert any(re.fullmatch(row.pattern, text) for text in found), row.pattern


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\nprom-probe nonsense\n```\n", "exit status 2"),
        ("```sh\nfalse\n```\n", "exit status 1"),
        ("```console\n$ echo one\ntwo\n```\n", "it printed\none"),
        ("```sh\nmake nonsense\n```\n", "there is no target nonsense"),
        ("```sh\nkubectl apply -k deploy/nonsense\n```\n", "deploy/nonsense does not exist"),
    ],
)
def test_a_page_that_is_wrong_is_found(text: str, fault: str, tmp_path: Path) -> None:
    """The test itself can fail."""
    with pytest.raises(Failed, match=re.escape(fault)), Shell(Page("wrong.md", text), tmp_path, patience_s=0) as shell:
        shell.run_all()


def test_a_command_under_another_name_is_found() -> None:
    """A block without a language, or of another, would not be run."""
    assert Page("x.md", "```\nprom-probe run\n```\n").untagged
    assert Page("x.md", "```text\n$ prom-probe run\n```\n").untagged
    assert not Page("x.md", "```text\nprom_probe is healthy\n```\n").untagged
    assert [line for path in PAGES for line in read(path).untagged] == []


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path: str) -> None:
    """To files and headings of the checkout."""
    page = read(path)
    for link in page.links:
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / path).parent / target if target else ROOT / path
        assert file.exists(), link
        if anchor:
            assert anchor in read(str(file.resolve().relative_to(ROOT))).anchors, link


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to all of docs/."""
    linked = set(read("docs/README.md").links)
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


def _known_flags() -> set[str]:
    found: set[str] = set()
    own = ", run, once, query, top, runs, runs remove, compare, doctor, serve, check-config, completion"
    for command in own.split(", "):
        found |= set(re.findall(r"--[a-z][a-z.-]+", CliRunner().invoke(cli, [*command.split(), "--help"]).output))
    return found


def test_flags_that_are_named_exist() -> None:
    """In prose and in commands of prom-probe."""
    known = _known_flags()
    assert "--storage.tsdb.path" in known
    for path in PAGES:
        page = read(path)
        texts = [span for span in page.spans if span.startswith("--") or "prom-probe" in span]
        texts += [one.text for block in page.blocks for one in commands(block) if one.text.startswith("prom-probe")]
        for text in texts:
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", text.partition(" -- ")[0]):
                assert flag in known, f"{path}: {flag}"


def test_metrics_that_are_named_exist() -> None:
    """By their whole name, or a prefix with a star."""
    known = {one.family.name for one in (*DEFINITIONS, *REPORT, *OWN)}
    ours = re.compile(r"\b(?:proctree|cgroup|system|gpu|prom_probe|scrape)_[a-z0-9_]+[*]?")
    parts = {"_bucket", "_sum", "_count"}
    for path in PAGES:
        if path in ("docs/metrics.md", "CONTRIBUTING.md"):
            continue
        page = read(path)
        for text in [*page.spans, *(block.text for block in page.blocks)]:
            for name in ours.findall(text):
                stem = re.sub("|".join(f"{part}$" for part in parts), "", name.rstrip("_*"))
                fits = stem in known or any(one.startswith(stem + "_") for one in known)
                assert fits or stem in NO_METRICS, f"{path}: {name}"
