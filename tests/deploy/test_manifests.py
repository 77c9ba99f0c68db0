"""Kustomize and Helm build the same, and neither Kubernetes nor the operator has anything against it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from prom_probe.config.sources import make_config
from prom_probe.config.units import parse_size
from tests.deploy.tools import (
    KUSTOMIZE,
    OPERATOR,
    Resource,
    compose,
    helm,
    kustomize,
    parse,
    pod_spec,
    schema_faults,
    sidecar_of,
    validator,
)
from tests.support.waiting import DEADLINE_S

APP: Resource = parse((KUSTOMIZE / "example" / "app.yaml").read_text())[0]
# Helm's words of itself, which Kustomize has none of.
HELMS = {f"app.kubernetes.io/{name}" for name in ("instance", "version", "managed-by")} | {"helm.sh/chart"}


class Variant(NamedTuple):
    """A way to add the sidecar, the same by Kustomize's components and by Helm's values."""

    components: tuple[str, ...]
    settings: tuple[str, ...]
    kubernetes: tuple[str, ...]  # versions that must accept it


VARIANTS = {
    "native": Variant(("component",), (), ("1.29", "1.37")),
    "legacy": Variant(("component-legacy",), ("sidecar.native=false",), ("1.25", "1.28")),
    "gpu": Variant(("component", "component-gpu"), ("gpu.enabled=true",), ("1.37",)),
    "api": Variant(("component", "component-api"), ("api.enabled=true",), ("1.37",)),
    "own-user": Variant(
        ("component", "component-own-user"),
        ("sidecar.securityContext.runAsUser=65532", "sidecar.securityContext.runAsGroup=65532"),
        ("1.37",),
    ),
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Variant:
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def built(variant: Variant, tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    return compose(tmp_path_factory.mktemp("built"), ["base", "networkpolicy", APP], variant.components)


def normal(value: Any) -> Any:
    """A resource without the order of what Kubernetes knows by name, and without Helm's own labels."""
    if isinstance(value, dict):
        return {key: normal(each) for key, each in value.items() if key not in HELMS}
    if isinstance(value, list):
        if all(isinstance(each, dict) and "name" in each for each in value):
            value = sorted(value, key=lambda each: str(each["name"]))
        return [normal(each) for each in value]
    return value


def by_name(resources: list[Resource]) -> dict[tuple[str, str], Any]:
    return {(one["kind"], one["metadata"]["name"]): normal(one) for one in resources}


def test_helm_renders_what_kustomize_builds(variant: Variant, built: list[Resource]) -> None:
    """Resource by resource, field by field."""
    theirs = by_name(helm("demo.enabled=true", "networkPolicy.enabled=true", *variant.settings))
    ours = by_name(built)
    assert theirs.keys() == ours.keys()
    for name, resource in ours.items():
        assert theirs[name] == resource


def test_the_example_is_the_native_variant(tmp_path: Path) -> None:
    """What README shows first."""
    assert by_name(kustomize(KUSTOMIZE / "example")) == by_name(
        compose(tmp_path, ["base", "networkpolicy", APP], ["component"])
    )


def check(folder: Path, version: str, resources: list[Resource]) -> subprocess.CompletedProcess[str]:
    file = folder / "all.yaml"
    file.write_text(yaml.safe_dump_all(resources))
    command = [*validator(), f"--kubernetes-version={version}", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)


def test_kubernetes_knows_every_field(variant: Variant, built: list[Resource], tmp_path: Path) -> None:
    """`kubernetes-validate --strict`, for the oldest and the newest version that the variant is for."""
    plain = [one for one in built if one["kind"] not in OPERATOR]
    assert {"Deployment", "NetworkPolicy"} <= {one["kind"] for one in plain}
    for version in variant.kubernetes:
        done = check(tmp_path, version, plain)
        assert done.returncode == 0, done
        assert "WARN" not in done.stdout + done.stderr


def test_kubernetes_knows_every_field_of_the_grafana_example(tmp_path: Path) -> None:
    """Deployment, Service and the ConfigMap with the data sources."""
    done = check(tmp_path, "1.37", kustomize(KUSTOMIZE / "grafana"))
    assert done.returncode == 0, done
    assert "WARN" not in done.stdout + done.stderr


def test_the_validator_would_tell(tmp_path: Path) -> None:
    """An unknown field, and a native sidecar before there were any."""
    (app,) = (one for one in kustomize(KUSTOMIZE / "example") if one["kind"] == "Deployment")
    assert check(tmp_path, "1.27", [app]).returncode != 0
    sidecar_of(app)["securityContext"]["runAsNonroot"] = True
    assert check(tmp_path, "1.37", [app]).returncode != 0


def test_the_operator_accepts_its_resources(built: list[Resource]) -> None:
    """By the schemas that are made of its resource definitions; they would tell a wrong type."""
    resources = [one for one in built if one["kind"] in OPERATOR]
    assert len(resources) == 2
    assert schema_faults(resources) == ["", ""]
    broken: Resource = json.loads(json.dumps(resources[0]))
    broken["spec"] = {"selector": {}, "podMetricsEndpoints": [{"port": 1}], "groups": [{"name": 1}]}
    assert schema_faults([broken]) != [""]


APIS = {"Job": "batch/v1", "CronJob": "batch/v1", "Rollout": "argoproj.io/v1alpha1"}


def workload(kind: str, name: str, labels: dict[str, str] | None = None) -> Resource:
    """A workload with an init container, a container and a volume of its own."""
    spec: Resource = {
        "initContainers": [{"name": "first", "image": "a"}],
        "containers": [{"name": "app", "image": "a"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    spec = {"template": {"spec": spec}}
    if kind == "CronJob":
        spec = {"schedule": "@hourly", "jobTemplate": {"spec": spec}}
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": APIS.get(kind, "apps/v1"), "kind": kind, "metadata": metadata, "spec": spec}


KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Rollout")


@pytest.mark.parametrize(("component", "left_out"), [("component", ()), ("component-legacy", ("Job", "CronJob"))])
def test_any_workload_gets_it(component: str, left_out: tuple[str, ...], tmp_path: Path) -> None:
    """The same for each; a Job only where the sidecar does not keep it from completing; none where a label says so."""
    given = [workload(kind, kind.lower()) for kind in KINDS]
    given += [workload(kind, "unwilling", {"prom-probe/sidecar": "none"}) for kind in KINDS]
    found = by_name(compose(tmp_path, given, [component]))
    assert len(found) == len(given)
    pods = []
    for (kind, name), resource in found.items():
        spec = normal(pod_spec(resource))
        containers = [one["name"] for one in [*spec["initContainers"], *spec["containers"]]]
        wanted = name != "unwilling" and kind not in left_out
        assert sorted(containers) == (["app", "first", "prom-probe"] if wanted else ["app", "first"])
        assert spec.get("shareProcessNamespace", False) is wanted
        assert [one["name"] for one in spec["volumes"]] == ["data", "prom-probe-no-token"][: 1 + wanted]
        assert ("prom-probe/sidecar: enabled" in yaml.safe_dump(resource["spec"])) is wanted
        if wanted:
            pods.append(spec)
    assert all(pod == pods[0] for pod in pods)


@pytest.mark.parametrize("component", ["component-gpu", "component-own-user"])
def test_what_is_on_top_reaches_cron_jobs(component: str, tmp_path: Path) -> None:
    """As it does Jobs."""
    given = [workload("Job", "job"), workload("CronJob", "cron")]
    job, cron = (pod_spec(one) for one in compose(tmp_path, given, ["component", component]))
    assert normal(job) == normal(cron)


def test_argo_accepts_its_rollout(tmp_path: Path) -> None:
    """With the sidecar in it, by the schema that is made of its resource definition; it would tell a wrong type."""
    rollout = workload("Rollout", "app")
    rollout["spec"] |= {"selector": {"matchLabels": {"app": "a"}}, "strategy": {"canary": {}}}
    (built,) = compose(tmp_path, [rollout], ["component"])
    assert schema_faults([built]) == [""]
    built["spec"]["template"]["spec"]["initContainers"] = {}
    assert schema_faults([built]) != [""]


def test_nothing_runs_with_more_rights_than_it_needs(built: list[Resource]) -> None:
    """What the restricted Pod Security Standard asks for, a read-only root, and one user for the whole pod."""
    (app,) = (one for one in built if one["kind"] == "Deployment")
    spec = pod_spec(app)
    assert spec["securityContext"]["runAsUser"] >= 10_000
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context.get("runAsUser", 65532) == context.get("runAsGroup", 65532) == 65532
        assert "privileged" not in context
    assert sidecar_of(app)["securityContext"]["runAsNonRoot"] is True


TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # Kubernetes mounts one where nothing is mounted yet


def test_no_token_is_in_the_sidecar_and_the_applications_stays(built: list[Resource]) -> None:
    """An empty, unwritable volume in its place; in memory, so that no pod has a disk's data because of us."""
    (app,) = (one for one in built if one["kind"] == "Deployment")
    spec = pod_spec(app)
    (mount,) = sidecar_of(app)["volumeMounts"]
    assert mount == {"name": "prom-probe-no-token", "mountPath": TOKEN, "readOnly": True}
    assert spec["volumes"] == [{"name": mount["name"], "emptyDir": {"medium": "Memory"}}]
    assert not any(one.get("volumeMounts") for one in spec["containers"] if one["name"] != "prom-probe")


MEASURED_MIB = 56  # PSS of all our processes after range queries over an hour of data
PERMITTED = ("storage_tsdb_retention_size", "storage_tsdb_decode_cache_size", "query_max_memory")


def mib(text: str) -> int:
    match = re.fullmatch(r"(\d+)Mi", text)
    assert match, text
    return int(match[1])


def test_the_memory_limit_is_what_the_settings_permit(built: list[Resource]) -> None:
    """Our measured footprint and all that the settings allow at once, and some room; no CPU limit."""
    (app,) = (one for one in built if one["kind"] == "Deployment")
    sidecar = sidecar_of(app)
    environ = {one["name"]: one["value"] for one in sidecar["env"] if one["name"].startswith("PROM_PROBE_")}
    config = make_config({}, environ)
    need = MEASURED_MIB + sum(getattr(config, field) for field in PERMITTED) / parse_size("1MB")
    if any(one["name"].startswith("NVIDIA_") for one in sidecar["env"]):
        need += 20
    resources = sidecar["resources"]
    assert need * 1.15 < mib(resources["limits"]["memory"]) < need * 1.35
    assert MEASURED_MIB < mib(resources["requests"]["memory"]) < mib(resources["limits"]["memory"])
    assert "cpu" not in resources["limits"]


def test_ports_agree(built: list[Resource]) -> None:
    """Between the settings, the container, its probes, the PodMonitor and the NetworkPolicy."""
    found = {one["kind"]: one for one in built}
    sidecar = sidecar_of(found["Deployment"])
    environ = {one["name"]: one["value"] for one in sidecar["env"] if one["name"].startswith("PROM_PROBE_")}
    config = make_config({}, environ)
    ports = {one["name"]: one["containerPort"] for one in sidecar["ports"]}
    assert ports["prom-probe"] == config.web_listen_address[0].port
    assert ports.get("probe-api", config.api_listen_address[0].port) == config.api_listen_address[0].port
    assert ("probe-api" in ports) is not config.api_listen_address[0].loopback
    assert sidecar["livenessProbe"]["httpGet"]["port"] == "prom-probe"
    assert not sidecar.keys() & {"readinessProbe", "startupProbe"}, "the application would wait for it"
    if "Service" in found:
        assert found["Service"]["spec"]["ports"][0]["targetPort"] == ports["probe-api"]
    assert found["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["port"] == "prom-probe"
    closed = {rule["ports"][0]["port"] for rule in found["NetworkPolicy"]["spec"]["ingress"] if "from" in rule}
    assert closed == {config.web_listen_address[0].port, config.api_listen_address[0].port}


def test_the_network_policy_leaves_the_applications_ports_open(built: list[Resource]) -> None:
    """Every TCP port is in exactly one rule: ours behind a selector, the others open to all."""
    (policy,) = (one for one in built if one["kind"] == "NetworkPolicy")
    seen: dict[int, list[bool]] = {port: [] for port in range(1, 65536)}
    for rule in policy["spec"]["ingress"]:
        for entry in rule["ports"]:
            if entry["protocol"] == "TCP":
                for port in range(entry["port"], entry.get("endPort", entry["port"]) + 1):
                    seen[port].append("from" in rule)
    assert {port for port, rules in seen.items() if rules == [True]} == {19990, 19991}
    assert all(len(rules) == 1 for rules in seen.values())
