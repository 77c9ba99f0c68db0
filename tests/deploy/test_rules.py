"""The alerts: each fires where it should and only there, and asks for metrics that there are."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.deploy.tools import ALERT_GROUPS, ALERTS, HERE, KUSTOMIZE, RULES, parse, run
from tests.docs.pages import read
from tests.support.dashboards import LABELS
from tests.support.programs import program

# Metrics of the design that rules use and that no collector gives yet: take them out here once one does.
NOT_YET: set[str] = set()

_METRIC = re.compile(r"\b(?:proctree|cgroup|system|gpu|prom_probe)_\w+")


def test_promtool_checks_the_rules() -> None:
    """As a plain rule file."""
    assert f"{len(ALERTS)} rules found" in run([program("promtool"), "check", "rules", RULES])


def test_each_alert_fires_and_does_not_fire() -> None:
    """`promtool test rules`; and rules.test.yaml has both cases for every alert."""
    cases = HERE / "rules.test.yaml"
    assert "SUCCESS" in run([program("promtool"), "test", "rules", cases])
    asked: dict[str, set[bool]] = {}
    for test in yaml.safe_load(cases.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            asked.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert asked == {alert: {True, False} for alert in ALERTS}


def test_the_operator_gets_the_same_rules() -> None:
    """Base's PrometheusRule is the chart's rule file."""
    (resource,) = parse((KUSTOMIZE / "base" / "prometheusrule.yaml").read_text())
    assert resource["spec"]["groups"] == ALERT_GROUPS


def test_each_alert_links_to_its_section() -> None:
    """By `runbook_url`, to a heading that is there; and no section is left over."""
    page = read("docs/alerts.md")
    links = {rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    assert links == {f"docs/alerts.md#{alert.lower()}" for alert in ALERTS}
    assert {alert.lower() for alert in ALERTS} == {anchor for anchor in page.anchors if anchor.startswith("promprobe")}


@pytest.mark.parametrize(
    ("alert", "words", "threshold"),
    [
        ("PromProbeMemoryPeakNearLimit", "above 90 % of the container's limit", "> 0.9"),
        ("PromProbeCpuThrottled", "more than a quarter of its periods", "> 0.25"),
        ("PromProbeDescriptorsNearLimit", "more than 90 % of its limit of open files", "> 0.9"),
        ("PromProbeProcessesNearLimit", "more than 90 % of its limit of tasks", "> 0.9"),
    ],
)
def test_the_page_has_the_alerts_threshold(alert: str, words: str, threshold: str) -> None:
    """Where it names one."""
    section = read("docs/alerts.md").text.partition(f"### {alert}\n")[2].partition("\n#")[0]
    assert words in " ".join(section.split())
    assert threshold in ALERTS[alert]["expr"]


@pytest.mark.parametrize("alert", ALERTS)
def test_metrics_of_an_alert_exist(alert: str) -> None:
    """In the catalogue or among our own."""
    names = set(_METRIC.findall(ALERTS[alert]["expr"]))
    assert names
    assert names <= LABELS.keys() | NOT_YET


def test_what_is_not_yet_there_is_not() -> None:
    """And is used, else its name is to be taken out of NOT_YET."""
    used = {name for rule in ALERTS.values() for name in _METRIC.findall(rule["expr"])}
    assert NOT_YET & LABELS.keys() == set()
    assert used >= NOT_YET
