"""Settings and files that deploy/ names exist and are taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from prom_probe.config.settings import FLAGS
from prom_probe.config.sources import find_config
from prom_probe.config.units import parse_size
from prom_probe.config.variables import CONFIG_FILE
from tests.deploy.tools import DEPLOY, KUSTOMIZE, parse, run
from tests.support.programs import program

TEXTS = [file for file in sorted(DEPLOY.rglob("*")) if file.is_file() and file.suffix != ".pyc"]
_VARIABLE = re.compile(r"\bPROM_PROBE_[A-Z_]+[A-Z]\b")
_FLAG = re.compile(r"(?<![\w-])--([a-z]+(?:[.-][a-z]+)*\.[a-z.-]+[a-z])")  # other programs' have no dot
NOT_AN_OPTION = {"config.file"}  # names the file that the others are read from


def test_variables_and_flags_exist() -> None:
    """In every file of deploy/, in comments too."""
    variables = {option.variable for option in FLAGS} | {CONFIG_FILE}
    flags = {option.key for option in FLAGS} | NOT_AN_OPTION
    seen: set[str] = set()
    for file in TEXTS:
        text = file.read_text()
        named = set(_VARIABLE.findall(text))
        assert named <= variables, file
        assert set(_FLAG.findall(text)) <= flags, file
        seen |= named
    assert {"PROM_PROBE_QUERY_MAX_MEMORY", "PROM_PROBE_API_LISTEN_ADDRESS"} <= seen


def test_the_units_settings_have_no_fault() -> None:
    """As `prom-probe check-config` finds."""
    config, faults = find_config({}, {}, file=str(DEPLOY / "systemd" / "prom-probe.yml"))
    assert faults == []
    assert [watch.kind for watch in config.watch] == ["cgroup", "comm"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent; what it runs is put where this machine has it."""
    text = (DEPLOY / "systemd" / "prom-probe.service").read_text()
    unit = tmp_path / "prom-probe.service"
    unit.write_text(text.replace("/opt/prom-probe/bin/prom-probe", program("true")))
    assert run([program("systemd-analyze"), "verify", "--man=no", unit]) == ""


def test_the_unit_may_see_what_it_is_for() -> None:
    """The two capabilities that a user who is not root needs, and nothing that hides processes."""
    lines = (DEPLOY / "systemd" / "prom-probe.service").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert settings["AmbientCapabilities"] == settings["CapabilityBoundingSet"] == "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"
    assert not settings.keys() & {"PrivateUsers", "ProtectProc", "ProcSubset"}


def test_compose_is_as_strict_as_the_manifest() -> None:
    """The same user as the application's, the same rights, the same limit; and its files are there."""
    folder = DEPLOY / "compose"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    sidecar, app = services["prom-probe"], services["app"]
    assert sidecar["user"] == app["user"]
    assert sidecar["pid"] == sidecar["network_mode"] == "service:app"
    assert sidecar["read_only"] is True
    assert sidecar["cap_drop"] == ["ALL"]
    (manifest,) = parse((KUSTOMIZE / "component" / "sidecar.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["initContainers"]
    limit = container["resources"]["limits"]["memory"].replace("Mi", "MB")
    assert parse_size(sidecar["mem_limit"].replace("m", "MB")) == parse_size(limit)
    for service in services.values():
        for volume in service.get("volumes", []):
            assert (folder / volume.split(":")[0]).is_file()
    assert (folder / app["build"]["context"] / app["build"]["dockerfile"]).is_file()


def test_a_real_prometheus_takes_the_composed_configuration(tmp_path: Path) -> None:
    """`promtool check config`, with the rules where they are mounted."""
    (tmp_path / "prometheus.yml").write_text((DEPLOY / "compose" / "prometheus.yml").read_text())
    (tmp_path / "prom-probe.rules.yml").write_text((DEPLOY / "helm" / "prom-probe" / "rules.yaml").read_text())
    assert "SUCCESS" in run([program("promtool"), "check", "config", tmp_path / "prometheus.yml"])


@pytest.mark.parametrize("file", ["kustomize/grafana/datasources.yaml", "compose/datasources.yaml"])
def test_grafana_gets_both_ways_in(file: str) -> None:
    """Straight to the sidecar at 1 s, and through Prometheus at the scrape interval."""
    sources = yaml.safe_load((DEPLOY / file).read_text())["datasources"]
    assert [(one["type"], one["jsonData"]["timeInterval"]) for one in sources] == [
        ("prometheus", "1s"),
        ("prometheus", "15s"),
    ]
    assert sources[0]["url"].endswith(":19991")
    assert len({one["uid"] for one in sources}) == 2


def test_versions_are_the_packages() -> None:
    """Chart and images name the version of the code."""
    from prom_probe import __version__

    chart = yaml.safe_load((DEPLOY / "helm" / "prom-probe" / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    tags = {tag for file in TEXTS for tag in re.findall(r"image: prom-probe:(\S+)", file.read_text())}
    assert tags == {__version__}
