"""The sidecar by a label: what the two policies make of a pod is what the chart's template does."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import Resource, helm, pod_spec, python_with, run, sidecar_of, validator

# Google's CEL and JMESPath's own, since neither the API server nor Kyverno can be had here.
CEL = ("cel-expr-python==0.1.3", "protobuf")
JMESPATH = ("jmespath==1.1.0",)
KYVERNO = ("cloudcoil-models-kyverno==1.13.4.0",)
EVALUATE_CEL = """
import json, sys
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional
asked = json.load(sys.stdin)
names = {name: cel.Type.DYN for name in ("object", "variables")}
env = cel.NewEnv(variables=names, extensions=[ext_optional.ExtOptional()])
values = lambda text, data: env.compile(text).eval(data=data).plain_value()
print(json.dumps([values(text, data) for text, data in asked]))
"""
EVALUATE_JMESPATH = """
import json, sys, jmespath
print(json.dumps([jmespath.search(text, data) for text, data in json.load(sys.stdin)]))
"""
CHECK_KYVERNO = """
import json, sys
from cloudcoil.models.kyverno.v1 import Policy
policy = json.load(sys.stdin)
kept = Policy.model_validate(policy).model_dump(mode="json", by_alias=True, exclude_unset=True)
print(json.dumps(kept))
"""

PODS: dict[str, Resource] = {
    "bare": {"containers": [{"name": "app"}]},
    "with its own": {
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
        "initContainers": [{"name": "first"}],
        "containers": [{"name": "app"}],
        "volumes": [{"name": "data"}],
        "imagePullSecrets": [{"name": "own"}],
    },
    "root": {"securityContext": {"runAsUser": 0}, "containers": [{"name": "app"}]},
    "user of the container": {
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
        "containers": [{"name": "app", "securityContext": {"runAsUser": 2000, "runAsGroup": 3000}}],
    },
    "root of the container": {
        "securityContext": {"runAsUser": 1000},
        "containers": [{"name": "app", "securityContext": {"runAsUser": 0}}],
    },
}
USERS = {"with its own": (1000, 1000), "user of the container": (2000, 3000)}  # others: one of its own, root's group
UNFIT: dict[str, Resource] = {
    "has one": {"containers": [{"name": "app"}], "initContainers": [{"name": "prom-probe"}]},
    "has an ordinary one": {"containers": [{"name": "app"}, {"name": "prom-probe"}]},
    "host's processes": {"hostPID": True, "containers": [{"name": "app"}]},
    "Windows": {"os": {"name": "windows"}, "containers": [{"name": "app"}]},
}
# All that adds to the pod or the container.
VALUES = (
    "demo.enabled=true",
    "injection.enabled=true",
    "image.pullSecrets[0].name=key",
    "tls.existingSecret=cert",
    "gpu.enabled=true",
    "sidecar.extraEnv[0].name=POD",
    "sidecar.extraEnv[0].valueFrom.fieldRef.fieldPath=metadata.name",
)


@functools.cache
def rendered(*values: str) -> list[Resource]:
    return helm(*VALUES, *values)


def only(kind: str, *values: str) -> Resource:
    (found,) = (one for one in rendered(*values) if one["kind"] == kind)
    return copy.deepcopy(found)


def evaluate(script: str, packages: tuple[str, ...], asked: list[tuple[str, Any]]) -> list[Any]:
    answers: list[Any] = json.loads(run([*python_with(*packages), "-c", script], stdin=json.dumps(asked)))
    return answers


def untyped(expression: str) -> str:
    """Objects of Kubernetes's types as maps, which Google's CEL makes without knowing the types."""
    maps = re.sub(r"\b(?:Object[\w.]*|JSONPatch)\{", "{", expression)
    return re.sub(r"([{,]\s*)(\w+): ", r'\1"\2": ', maps)


def patched(pod: Resource, patches: list[Resource]) -> Resource:
    """RFC 6902, as far as it is used: `add` of a field, and at the beginning of a list that is there."""
    pod = copy.deepcopy(pod)
    for patch in patches:
        assert patch["op"] == "add"
        *above, last = patch["path"].split("/")[1:]
        place = functools.reduce(lambda value, name: value[name], above, pod)
        if isinstance(place, list):
            assert last == "0"
            place.insert(0, patch["value"])
        else:
            place[last] = patch["value"]
    return pod


def admit(pods: list[Resource]) -> list[Resource]:
    """Each pod as the admission policy leaves it: mutation after mutation, each sees what the last one made."""
    spec = only("MutatingAdmissionPolicy")["spec"]
    conditions = [one["expression"] for one in spec["matchConditions"]]
    asked = [(text, {"object": pod}) for pod in pods for text in conditions]
    answers, count = evaluate(EVALUATE_CEL, CEL, asked), len(conditions)
    fits = [all(answers[first : first + count]) for first in range(0, len(answers), count)]
    fit = [pod for pod, fits_it in zip(pods, fits, strict=True) if fits_it]
    variables: list[dict[str, Any]] = [{} for _ in fit]
    for one in spec["variables"]:
        asked = [(one["expression"], {"object": pod}) for pod in fit]
        for held, value in zip(variables, evaluate(EVALUATE_CEL, CEL, asked), strict=True):
            held[one["name"]] = value
    for mutation in spec["mutations"]:
        text = untyped(mutation["jsonPatch"]["expression"])
        asked = [(text, {"object": pod, "variables": held}) for pod, held in zip(fit, variables, strict=True)]
        fit = [patched(pod, patches) for pod, patches in zip(fit, evaluate(EVALUATE_CEL, CEL, asked), strict=True)]
    left = iter(fit)
    return [next(left) if fits_it else pod for pod, fits_it in zip(pods, fits, strict=True)]


def test_the_admission_policy_adds_what_the_template_does() -> None:
    """To each pod, before what it has; as the first container's user, or one of its own where that is root."""
    template = pod_spec(only("Deployment"))
    wanted = sidecar_of(only("Deployment"))
    for (name, before), after in zip(PODS.items(), admit([{"spec": pod} for pod in PODS.values()]), strict=True):
        spec = after["spec"]
        user, group = USERS.get(name, (65532, 0))
        context = {**wanted["securityContext"], "runAsUser": user, "runAsGroup": group}
        assert spec["initContainers"] == [{**wanted, "securityContext": context}, *before.get("initContainers", [])]
        assert spec["containers"] == before["containers"]
        added = [one for one in spec["volumes"] if one not in before.get("volumes", [])]
        assert sorted(added, key=str) == sorted(template["volumes"], key=str)
        assert spec["imagePullSecrets"] == [*template["imagePullSecrets"], *before.get("imagePullSecrets", [])]
        assert spec["shareProcessNamespace"] is True
        assert spec["runtimeClassName"] == template["runtimeClassName"]


def test_pods_that_cannot_have_it_are_left_as_they_are() -> None:
    """Those that have it, and those that Kubernetes would refuse with it."""
    pods = [{"spec": pod} for pod in UNFIT.values()]
    assert admit(pods) == pods


def test_objects_have_the_types_of_their_places() -> None:
    """Each `Object…` is named after the path of fields that leads to it, as the API server wants."""
    for mutation in only("MutatingAdmissionPolicy")["spec"]["mutations"]:
        above: list[str] = []
        for match in re.finditer(r"(\w+: )?\[?(Object[\w.]*)\{|\{|\}", mutation["jsonPatch"]["expression"]):
            if match[0] == "}":
                above.pop()
            elif match[2] is None:
                above.append(above[-1] if above else "")
            else:
                field = (match[1] or "").removesuffix(": ")
                typed = next((one for one in reversed(above) if one), "")
                assert not typed or match[2] == (f"{typed}.{field}" if field else match[2]), match[0]
                above.append(match[2])


def test_no_policy_keeps_a_pod_from_being_made() -> None:
    """A failure is ignored; the pods are those of the label and the release's namespace."""
    for values in ((), ("injection.kyverno=true",)):
        kind = "Policy" if values else "MutatingAdmissionPolicy"
        assert only(kind, *values)["spec"]["failurePolicy"] == "Ignore"
    assert only("MutatingAdmissionPolicy")["spec"]["matchConstraints"]["objectSelector"] == {
        "matchLabels": {"prom-probe/sidecar": "enabled"}
    }
    binding = only("MutatingAdmissionPolicyBinding")["spec"]
    assert binding["policyName"] == only("MutatingAdmissionPolicy")["metadata"]["name"]
    assert binding["matchResources"]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "default"}}


@pytest.mark.parametrize(("api", "version", "kubernetes"), [((), "v1beta1", "1.34"), (("v1",), "v1", "1.37")])
def test_kubernetes_knows_the_policy(api: tuple[str, ...], version: str, kubernetes: str, tmp_path: Path) -> None:
    """In the newest version that the cluster has."""
    values = [f"--api-versions=admissionregistration.k8s.io/{one}/MutatingAdmissionPolicy" for one in api]
    resources = helm("injection.enabled=true", flags=values)
    policies = [one for one in resources if one["kind"].startswith("MutatingAdmission")]
    assert [one["apiVersion"] for one in policies] == [f"admissionregistration.k8s.io/{version}"] * 2
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(policies))
    said = run([*validator(), f"--kubernetes-version={kubernetes}", tmp_path / "all.yaml"])
    assert "WARN" not in said


def test_kyverno_knows_every_field_of_its_policy() -> None:
    """By models that are made of its resource definitions: what they do not know, they do not give back."""
    policy = only("Policy", "injection.kyverno=true")
    script = [*python_with(*KYVERNO), "-c", CHECK_KYVERNO]
    assert json.loads(run(script, stdin=json.dumps(policy)))["spec"] == policy["spec"]


def test_kyvernos_policy_adds_the_same() -> None:
    """Its expressions give the same users, and it leaves the same pods alone."""
    policy = only("Policy", "injection.kyverno=true")
    (rule,) = policy["spec"]["rules"]
    patch = rule["mutate"]["patchStrategicMerge"]["spec"]
    template = pod_spec(only("Deployment"))
    (sidecar,) = patch.pop("initContainers")
    context = sidecar["securityContext"]
    texts = [context.pop("runAsUser"), context.pop("runAsGroup")]
    assert sidecar == sidecar_of(only("Deployment"))
    fields = ("shareProcessNamespace", "runtimeClassName", "imagePullSecrets", "volumes")
    assert patch == {field: template[field] for field in fields}
    conditions = rule["preconditions"]["all"]
    texts += [conditions[0]["value"], conditions[1]["key"], conditions[2]["key"]]
    queries = [re.fullmatch(r"\s*\{\{\s*(.*?)\s*\}\}\s*", text, re.DOTALL)[1] for text in texts]  # type: ignore[index]
    pods = {**PODS, **UNFIT}
    asked = [(query, {"request": {"object": {"spec": pod}}}) for pod in pods.values() for query in queries]
    answers = iter(evaluate(EVALUATE_JMESPATH, JMESPATH, asked))
    for name in pods:
        user, group, names, shares, system = (next(answers) for _ in queries)
        assert (user, group) == USERS.get(name, (65532, 0))
        fits = "prom-probe" not in names and shares is False and system == "linux"
        assert fits is (name in PODS), name
