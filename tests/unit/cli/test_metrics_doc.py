"""docs/metrics.md matches the tables of the code."""

from __future__ import annotations

import pytest

from prom_probe.cli.metrics_doc import OWN, page, render
from prom_probe.model.definition import Definition
from prom_probe.model.family import Family
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "metrics.md"


def test_the_page_is_what_the_tables_say() -> None:
    """A metric that was added or changed needs its line."""
    assert PAGE.read_text() == page(), "docs/metrics.md is out of date: run `make docs`"


def test_a_row_has_everything() -> None:
    """Name, type, unit, labels, where it is shown, platforms, source, meaning. A bar is escaped."""
    family = Family("proctree_x_seconds", "gauge", "Time.", "seconds")
    text = render([Definition(family, ("tree", "mode"), "a|b", "As it is.", "Linux")])
    assert text.splitlines()[-1] == (
        "| `proctree_x_seconds` | gauge | seconds | `tree`, `mode` | exposed | Linux | a\\|b | Time. As it is. |"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("proctree_process_x", "local; exposed with `--expose.per-process`"),
        ("gpu_process_x", "local; exposed with `--expose.per-process`"),
        ("gpu_x", "exposed"),
        ("cgroup_x", "exposed"),
        ("system_x", "exposed; in a container local, unless `--expose.system`"),
        ("prom_probe_x", "exposed"),
    ],
)
def test_the_prefix_says_where_a_metric_is_shown(name: str, shown: str) -> None:
    """As in the collectors."""
    text = render([Definition(Family(name, "gauge", "Help."), (), "x", "As it is.", "all")])
    assert f"| {shown} |" in text


@pytest.mark.parametrize("definition", OWN, ids=lambda definition: definition.family.name)
def test_our_own_metrics_are_defined(definition: Definition) -> None:
    """A source and a sentence each; counters alone end in _total."""
    family = definition.family
    assert family.name.endswith("_total") == (family.type == "counter")
    assert definition.source
    for text in (family.help, definition.definition):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".")
