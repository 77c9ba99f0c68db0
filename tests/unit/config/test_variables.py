"""Variables of the environment that start with our prefix and mean nothing."""

from __future__ import annotations

import pytest

from prom_probe.config.settings import FLAGS
from prom_probe.config.variables import unknown_variables


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["PROM_PROBE_INTERVALL"], ["unknown variable PROM_PROBE_INTERVALL: did you mean PROM_PROBE_INTERVAL?"]),
        (
            ["PROM_PROBE_WEB_LISTEN_ADRESS", "PROM_PROBE_ZZZ"],
            [
                "unknown variable PROM_PROBE_WEB_LISTEN_ADRESS: did you mean PROM_PROBE_WEB_LISTEN_ADDRESS?",
                "unknown variable PROM_PROBE_ZZZ",
            ],
        ),
        (["PROM_PROBE_WEB_PORT"], ["unknown variable PROM_PROBE_WEB_PORT"]),
        (["PROM_PROBE_"], ["unknown variable PROM_PROBE_"]),
        (["PROM_PROBEINTERVAL", "prom_probe_interval", "_PROM_PROBE_COMPLETE"], []),
        (["PROM_PROBE_URL", "PROM_PROBE_CONFIG_FILE", *(option.variable for option in FLAGS)], []),
    ],
)
def test_each_is_a_line_with_a_suggestion(names: list[str], lines: list[str]) -> None:
    """None where no setting's variable is near."""
    assert unknown_variables(dict.fromkeys(names, "1")) == lines


@pytest.mark.parametrize("service", ["PROM_PROBE", "PROM_PROBE_API"])
def test_those_of_a_kubernetes_service_are_left_out(service: str) -> None:
    """A Service named prom-probe, or prom-probe-api, puts these into every container of its namespace."""
    names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT"]
    names += [f"PORT_80_TCP{end}" for end in ("", "_PROTO", "_PORT", "_ADDR")]
    environ = dict.fromkeys((f"{service}_{name}" for name in names), "x")
    assert unknown_variables(environ) == []
    assert unknown_variables(environ | {"PROM_PROBE_ZZZ": "1"}) == ["unknown variable PROM_PROBE_ZZZ"]
