"""The final labels of a target's series: conflicts, honor_labels, relabelling."""

from __future__ import annotations

import msgspec
import pytest

from prom_probe.collectors.scrape.page import ExpositionPage, PageLimits
from prom_probe.collectors.scrape.target_labels import TargetLabels, attached
from prom_probe.model.labels import METRIC_NAME, format_labels
from prom_probe.model.relabel import Relabeller, RelabelRule


def rules(*written: dict[str, object]) -> Relabeller:
    return Relabeller([msgspec.convert(one, RelabelRule) for one in written])


@pytest.mark.parametrize(
    ("labels", "merged"),
    [
        ({}, {"job": "j", "instance": "i"}),
        ({"a": "b"}, {"a": "b", "job": "j", "instance": "i"}),
        ({"job": "x"}, {"exported_job": "x", "job": "j", "instance": "i"}),
        (
            {"job": "x", "exported_job": "y", "instance": "z"},
            {"exported_exported_job": "x", "exported_job": "y", "exported_instance": "z", "job": "j", "instance": "i"},
        ),
    ],
)
def test_the_targets_labels_win(labels: dict[str, str], merged: dict[str, str]) -> None:
    """As with honor_labels: false."""
    assert attached(labels, {"job": "j", "instance": "i"}) == merged


@pytest.mark.parametrize(
    ("pairs", "series"),
    [
        ([], 'a{instance="i", job="j"}'),
        ([("job", "x")], 'a{instance="i", job="x"}'),
        ([("instance", "")], 'a{job="j"}'),
        ([("instance", ""), ("job", "x"), ("y", "")], 'a{job="x"}'),
    ],
)
def test_honored_labels_are_the_pages(pairs: list[tuple[str, str]], series: str) -> None:
    """An empty one of the page takes the target's away, as pushgateway needs it."""
    made = TargetLabels({"job": "j", "instance": "i"}, honor_labels=True).finish("a", pairs)
    assert made is not None and format_labels(made) == series


def test_relabelling_drops_renames_and_is_counted() -> None:
    """After the target's labels are there; samples count before it, limits after it, and no series is new twice."""
    relabeller = rules(
        {"source_labels": ["job", METRIC_NAME], "regex": "j;go_.*", "action": "drop"},
        {"source_labels": [METRIC_NAME], "regex": "old_(.*)", "target_label": METRIC_NAME, "replacement": "new_$1"},
        {"regex": "secret", "action": "labeldrop"},
    )
    page = ExpositionPage(PageLimits(samples=2), TargetLabels({"job": "j"}, relabeller=relabeller).finish)
    text = '# TYPE old_total counter\ngo_a {0}\nold_total{{secret="x"}} {0}\ngo_b {0}\nb {0}\n'
    assert page.read(text.format(1).encode(), False) == (4, 2, 2)
    for value in (2, 3):
        assert page.read(text.format(value).encode(), False) == (4, 2, 0)
        assert [format_labels(series.labels) for series in page.series] == ['new_total{job="j"}', 'b{job="j"}']
        assert list(page.values) == [value, value]
    assert [(series.family.name, series.family.type) for series in page.series] == [
        ("new_total", "counter"),
        ("b", "unknown"),
    ]
    assert page.read(text.format(4).replace("\nb 4", "\nb 4\ngo_c 4").encode(), False) == (5, 2, 0)


def test_what_relabelling_makes_equal_is_one_series() -> None:
    """The first sample counts, as for duplicates of a page."""
    finish = TargetLabels({}, relabeller=rules({"regex": "x", "action": "labeldrop"})).finish
    page = ExpositionPage(PageLimits(), finish)
    assert page.read(b'a{x="1"} 1\na{x="2"} 2\n', False) == (2, 2, 2)
    assert list(page.values) == [1]
