"""The chart's values: what each changes in what is rendered, and what is refused."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from prom_probe.config.sources import make_config
from prom_probe.config.units import parse_size
from prom_probe.config.variables import CONFIG_FILE
from prom_probe.web.http.web_config import read_web_config
from tests.deploy import schema
from tests.deploy.tools import (
    ALERTS,
    CHART,
    EVERYTHING,
    OPERATOR,
    ROOT,
    Resource,
    helm,
    helm_command,
    pod_spec,
    run,
    schema_faults,
    sidecar_of,
    tool,
    validator,
)
from tests.support.waiting import DEADLINE_S

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
README = (CHART / "README.md").read_text()
DIGEST = f"sha256:{'0' * 64}"
NAMESPACE = "kubernetes.io/metadata.name"


class Row(NamedTuple):
    """A value that people set, and what it makes of one field: `path` in the first resource of that kind and name."""

    value: str
    kind: str
    path: str
    wanted: Any
    name: str = ".*"


SIDECAR, POD = "spec/template/spec/initContainers/0", "spec/template/spec"
POLICY, MONITOR = "spec/ingress/1/from/0/namespaceSelector", "spec/podMetricsEndpoints/0"
ROWS = (
    Row("image.registry=r.example", "Deployment", f"{SIDECAR}/image", "r.example/prom-probe:0.1.0"),
    Row("image.tag=1.2.3", "Deployment", f"{SIDECAR}/image", "prom-probe:1.2.3"),
    Row(f"image.digest={DIGEST}", "Deployment", f"{SIDECAR}/image", f"prom-probe@{DIGEST}"),
    Row("image.pullPolicy=Always", "Deployment", f"{SIDECAR}/imagePullPolicy", "Always"),
    Row("image.pullSecrets[0].name=key", "Deployment", f"{POD}/imagePullSecrets", [{"name": "key"}]),
    Row("nameOverride=own", "PodMonitor", "metadata/name", "prom-probe-own"),
    Row("fullnameOverride=mine", "PodMonitor", "metadata/name", "mine"),
    Row("commonLabels.team=a", "NetworkPolicy", "metadata/labels/team", "a"),
    Row("commonAnnotations.owner=a", "NetworkPolicy", "metadata/annotations/owner", "a"),
    Row("podLabel=b", "PodMonitor", "spec/selector/matchLabels", {"prom-probe/sidecar": "b"}),
    Row("podLabel=b", "Deployment", "spec/template/metadata/labels/prom-probe~1sidecar", "b"),
    Row("sidecar.holdApplication=true", "Deployment", f"{SIDECAR}/startupProbe/httpGet/path", "/-/ready"),
    Row("sidecar.extraArgs[0]=--log.level=debug", "Deployment", f"{SIDECAR}/args", ["run", "--log.level=debug"]),
    Row("sidecar.extraEnv[0].name=TZ", "Deployment", f"{SIDECAR}/env/-1", {"name": "TZ"}),
    Row("sidecar.extraEnvFrom[0].secretRef.name=s", "Deployment", f"{SIDECAR}/envFrom", [{"secretRef": {"name": "s"}}]),
    Row("sidecar.extraVolumes[0].name=v", "Deployment", f"{POD}/volumes/1", {"name": "v"}),
    Row("sidecar.extraVolumeMounts[0].name=v", "Deployment", f"{SIDECAR}/volumeMounts/1", {"name": "v"}),
    Row("sidecar.securityContext.runAsUser=65532", "Deployment", f"{SIDECAR}/securityContext/runAsUser", 65532),
    Row("sidecar.resources.limits.cpu=1", "Deployment", f"{SIDECAR}/resources/limits", {"cpu": 1, "memory": "192Mi"}),
    Row("podMonitor.interval=30s", "PodMonitor", f"{MONITOR}/interval", "30s"),
    Row("podMonitor.labels.release=prometheus", "PodMonitor", "metadata/labels/release", "prometheus"),
    Row("podMonitor.relabelings[0].action=drop", "PodMonitor", f"{MONITOR}/relabelings", [{"action": "drop"}]),
    Row("podMonitor.metricRelabelings[0].regex=x", "PodMonitor", f"{MONITOR}/metricRelabelings", [{"regex": "x"}]),
    Row("serviceMonitor.scrapeTimeout=5s", "ServiceMonitor", "spec/endpoints/0/scrapeTimeout", "5s"),
    Row("prometheusRule.labels.release=p", "PrometheusRule", "metadata/labels/release", "p"),
    Row(
        "prometheusRule.runbookBase=https://h/",
        "PrometheusRule",
        "spec/groups/0/rules/1/annotations/runbook_url",
        "https://h/docs/alerts.md#promprobeoutofmemorykill",
    ),
    Row(
        "prometheusRule.disabled={PromProbeMemoryPeakNearLimit}",
        "PrometheusRule",
        "spec/groups/0/rules/0/alert",
        "PromProbeOutOfMemoryKill",
    ),
    Row("networkPolicy.prometheus.namespace=mon", "NetworkPolicy", f"{POLICY}/matchLabels", {NAMESPACE: "mon"}),
    Row("dashboards.labels.grafana_dashboard=x", "ConfigMap", "metadata/labels/grafana_dashboard", "x"),
    Row("dashboards.annotations.folder=x", "ConfigMap", "metadata/annotations/folder", "x"),
    Row("gpu.runtimeClassName=amd", "Deployment", f"{POD}/runtimeClassName", "amd"),
    Row("api.annotations.a=b", "Service", "metadata/annotations/a", "b", "prom-probe-api"),
    Row("tls.existingSecret=cert", "PodMonitor", f"{MONITOR}/scheme", "https"),
    Row("tls.existingSecret=cert", "ServiceMonitor", "spec/endpoints/0/tlsConfig", {"insecureSkipVerify": True}),
    Row("tls.existingSecret=cert", "Deployment", f"{SIDECAR}/livenessProbe/httpGet/scheme", "HTTPS"),
)


@functools.cache
def rendered(*values: str) -> list[Resource]:
    return helm(*values)


def at(resource: Any, path: str) -> Any:
    """A field by a JSON pointer without its first slash."""
    for word in path.split("/"):
        resource = resource[int(word)] if isinstance(resource, list) else resource[word.replace("~1", "/")]
    return resource


def first(resources: list[Resource], kind: str, name: str = ".*") -> Resource:
    return next(one for one in resources if one["kind"] == kind and re.fullmatch(name, one["metadata"]["name"]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.value}-{row.kind}")
def test_a_value_is_in_what_is_rendered(row: Row) -> None:
    """And is not there without it."""
    switched = [f"{name}.enabled=true" for name in EVERYTHING if name != "gpu" or row.value.startswith("gpu")]
    assert at(first(helm(*switched, row.value), row.kind, row.name), row.path) == row.wanted
    try:
        without = at(first(rendered(*switched), row.kind, row.name), row.path)
    except (KeyError, IndexError):
        without = None
    assert without != row.wanted


def test_all_that_is_rendered_is_valid(tmp_path: Path) -> None:
    """Every row of the table at once, by Kubernetes's and the operator's schemas."""
    switched = [f"{name}.enabled=true" for name in EVERYTHING]
    values = {row.value for row in ROWS if not row.value.startswith(("sidecar.extra", "image.digest"))}
    resources = helm(*switched, *values, "sidecar.extraEnv[0].name=TZ", "sidecar.resources.limits.cpu=1m")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(one for one in resources if one["kind"] not in OPERATOR))
    run([*validator(), "--kubernetes-version=1.37", tmp_path / "all.yaml"])
    custom = [one for one in resources if one["kind"] in OPERATOR]
    assert {one["kind"] for one in custom} == set(OPERATOR)
    assert schema_faults(custom) == [""] * len(custom)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("imagee.tag=1", "'imagee' not allowed"),
        ("podMonitor.intervall=1s", "'intervall' not allowed"),
        ("sidecar.settings.PROM_PROBE_INTERVALL=1s", "value must be one of"),
        ("sidecar.settings.PROM_PROBE_QUERY_MAX_MEMORY=64Mi", "does not match pattern"),
        ("image.digest=sha256:1", "does not match pattern"),
        ("prometheusRule.disabled={PromProbeNothing}", "value must be one of"),
        ("remoteWrite.url=prometheus:9090", "does not match pattern"),
    ],
)
def test_a_value_that_is_wrong_is_refused(value: str, said: str) -> None:
    """By the schema, in a line that names it."""
    done = subprocess.run(helm_command(value), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode != 0
    assert said in done.stderr


def leaves(values: dict[str, Any], known: dict[str, Any], path: str = "") -> Iterator[str]:
    """The keys that somebody sets: what the schema leaves free is one."""
    for key, value in values.items():
        below = known["properties"][key]
        below = below.get("allOf", [below])[0]
        if "$ref" in below:
            below = SCHEMA["definitions"][below["$ref"].rpartition("/")[2]]
        fixed = isinstance(value, dict) and "properties" in below and key not in ("settings", "resources")
        if fixed:
            assert below["additionalProperties"] is False, path + key
            yield from leaves(value, below, f"{path}{key}.")
        else:
            yield path + key


def test_every_value_has_a_row_in_the_readme() -> None:
    """And no row is left over."""
    table = README[README.index("| Key |") :]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([^`]+)`", "".join(cells))) == sorted(leaves(VALUES, SCHEMA))


def test_the_schema_knows_every_setting_and_alert() -> None:
    """Those of the code: `make docs` writes it."""
    assert schema.FILE.read_text() == schema.written()
    names = SCHEMA["properties"]["sidecar"]["properties"]["settings"]["propertyNames"]["enum"]
    assert {"PROM_PROBE_INTERVAL", CONFIG_FILE} <= set(names)
    assert SCHEMA["properties"]["prometheusRule"]["properties"]["disabled"]["items"]["enum"] == list(ALERTS)


def test_helm_lint() -> None:
    """Strict, with everything switched on."""
    switches = [f"--set={name}.enabled=true" for name in (*EVERYTHING, "injection")]
    assert "0 chart(s) failed" in run([tool("helm"), "lint", "--strict", CHART, *switches])


@pytest.mark.parametrize("kinds", [(), ("PodMonitor",), OPERATOR])
def test_kinds_that_the_cluster_lacks_are_left_out(kinds: tuple[str, ...]) -> None:
    """Unless they are asked for; with a ServiceMonitor there is no PodMonitor."""
    assert {one["kind"] for one in helm(kinds=kinds)} == set(kinds) - {"ServiceMonitor"}
    asked = helm("podMonitor.enabled=true", "prometheusRule.enabled=true", kinds=kinds)
    assert {one["kind"] for one in asked} == {"PodMonitor", "PrometheusRule"}
    service = helm("serviceMonitor.enabled=true", kinds=kinds)
    assert {one["kind"] for one in service} == {"Service", "ServiceMonitor"} | (set(kinds) & {"PrometheusRule"})


def test_the_service_monitor_finds_its_service_alone() -> None:
    """By label and port; the API's Service is no target."""
    resources = helm("serviceMonitor.enabled=true", "api.enabled=true")
    monitor = first(resources, "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [one for one in resources if one["kind"] == "Service"]
    (found,) = (one for one in services if wanted <= one["metadata"]["labels"].items())
    assert [port["name"] for port in found["spec"]["ports"]] == [one["port"] for one in monitor["endpoints"]]
    assert found["spec"]["ports"][0]["targetPort"] == 19990


def test_two_releases_in_one_namespace() -> None:
    """No name of theirs is the same, and neither selects the other's pods."""
    switches = [f"{name}.enabled=true" for name in (*EVERYTHING, "injection")]
    one = helm(*switches, "tls.existingSecret=s", release="one")
    two = helm(*switches, "tls.existingSecret=s", "podLabel=two", release="two")
    names = [{(each["kind"], each["metadata"]["name"]) for each in release} for release in (one, two)]
    assert len(names[0]) == len(one)
    assert not names[0] & names[1]
    text = yaml.safe_dump_all(two)
    assert set(re.findall(r"prom-probe/sidecar: (\w+)", text)) == {"two"}
    selectors = [first(release, "Deployment")["spec"]["selector"] for release in (one, two)]
    assert selectors[0] != selectors[1]


PERMITTED = ("storage_tsdb_retention_size", "storage_tsdb_decode_cache_size", "query_max_memory")


@pytest.mark.parametrize(
    ("values", "own", "request_mib", "limit_mib"),
    [
        ((), 56, 64, 192),
        (("gpu.enabled=true",), 76, 96, 224),
        (("remoteWrite.url=http://r/write",), 68, 96, 224),
        (("sidecar.settings.PROM_PROBE_REMOTE_WRITE_URL=http://r/write",), 68, 96, 224),
        (("sidecar.settings.PROM_PROBE_STORAGE_TSDB_RETENTION_SIZE=1GB",), 56, 64, 1408),
        (("sidecar.settings.PROM_PROBE_QUERY_MAX_MEMORY=524288KB", "tls.existingSecret=s"), 60, 96, 736),
        (("sidecar.settings.PROM_PROBE_QUERY_MAX_MEMORY=null",), 56, 64, 192),
    ],
)
def test_the_memory_limit_follows_from_the_settings(
    values: tuple[str, ...], own: int, request_mib: int, limit_mib: int
) -> None:
    """What is measured and what the settings permit, and a fifth: as the code reads the same variables."""
    sidecar = sidecar_of(first(helm("demo.enabled=true", *values), "Deployment"))
    environ = {one["name"]: one["value"] for one in sidecar["env"] if one["name"].startswith("PROM_PROBE_")}
    config = make_config({}, environ)
    permitted = sum(getattr(config, field) for field in PERMITTED) / parse_size("1MB")
    assert 0 <= limit_mib - (own + permitted) * 1.2 < 32
    resources = sidecar["resources"]
    assert (resources["requests"]["memory"], resources["limits"]) == (f"{request_mib}Mi", {"memory": f"{limit_mib}Mi"})


def test_remote_write_is_one_value() -> None:
    """The address is all that it takes: the code reads it from the variable."""
    sidecar = sidecar_of(first(helm("demo.enabled=true", "remoteWrite.url=http://r:9090/api/v1/write"), "Deployment"))
    config = make_config({}, {one["name"]: one["value"] for one in sidecar["env"]})
    assert [one.url.reveal() for one in config.remote_write_url] == ["http://r:9090/api/v1/write"]


def test_tls_comes_from_the_secret(tmp_path: Path) -> None:
    """The web configuration is one that the code reads, where the container has certificate and key."""
    rendered = helm("demo.enabled=true", "tls.existingSecret=cert")
    app, config = first(rendered, "Deployment"), first(rendered, "ConfigMap")
    sidecar = sidecar_of(app)
    (mount,) = (one for one in sidecar["volumeMounts"] if one["name"] == "prom-probe-tls")
    (volume,) = (one for one in pod_spec(app)["volumes"] if one["name"] == "prom-probe-tls")
    environ = {one["name"]: one["value"] for one in sidecar["env"]}
    assert environ["PROM_PROBE_WEB_CONFIG_FILE"] == f"{mount['mountPath']}/web.yml"
    sources = [{"secret": {"name": "cert"}}, {"configMap": {"name": config["metadata"]["name"]}}]
    assert volume["projected"]["sources"] == sources
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("")
    (tmp_path / "web.yml").write_text(config["data"]["web.yml"])
    read = read_web_config(str(tmp_path / "web.yml"))
    assert (read.cert_file, read.key_file) == (str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))


def test_dashboards_are_ours_and_fit() -> None:
    """Each JSON file as it is, in a ConfigMap that etcd takes."""
    found: dict[str, str] = {}
    for one in helm("dashboards.enabled=true"):
        if one["kind"] == "ConfigMap":
            found |= one["data"]
            assert len(yaml.safe_dump(one)) < 1 << 20
    files = (ROOT / "grafana" / "dashboards").glob("*.json")
    assert {name: json.loads(text) for name, text in found.items()} == {
        file.name: json.loads(file.read_text()) for file in files
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("injection.enabled=false", "No pod has the sidecar by that alone"),
        ("injection.enabled=true", 'New pods get it by the label\n    prom-probe/sidecar: "enabled"'),
        ("podMonitor.enabled=auto", "The cluster has no Prometheus operator"),
        ("api.enabled=true", "http://mine-prom-probe-api.default.svc:19991"),
    ],
)
def test_the_notes_say_what_comes_next(value: str, said: str) -> None:
    """As `helm install` prints them."""
    install: list[str | Path] = [tool("helm"), "install", "mine", CHART, "--dry-run=client", f"--set={value}"]
    assert said in run(install, env={"PATH": "/usr/bin", "KUBECONFIG": "/dev/null", "HOME": "/nonexistent"})


PARENT = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: app}
spec:
  template:
    metadata: {labels: {prom-probe/sidecar: enabled}}
    spec:
      {{- include "prom-probe.sidecar" (index .Subcharts "prom-probe") | nindent 6 }}
      containers: [{name: app, image: app}]
"""


def test_another_chart_takes_the_sidecar_from_ours(tmp_path: Path) -> None:
    """As a dependency, packed as Helm packs it, with settings of its own and the parent's global ones."""
    (tmp_path / "templates").mkdir()
    run([tool("helm"), "package", CHART, "--destination", tmp_path / "charts"])
    dependency = {"name": "prom-probe", "version": "0.1.0"}
    chart = {"apiVersion": "v2", "name": "app", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (tmp_path / "templates" / "app.yaml").write_text(PARENT)
    values = (
        "prom-probe.sidecar.settings.PROM_PROBE_INTERVAL=2s",
        "global.region=west",
        "prom-probe.dashboards.enabled=true",
    )
    rendered = helm(*values, chart=tmp_path)
    assert sum(one["kind"] == "ConfigMap" for one in rendered) == 4
    app = first(rendered, "StatefulSet")
    sidecar = sidecar_of(app)
    assert sidecar["restartPolicy"] == "Always"
    assert {"name": "PROM_PROBE_INTERVAL", "value": "2s"} in sidecar["env"]
    assert pod_spec(app)["shareProcessNamespace"] is True
