"""Commands of the documentation that are not run as they stand, and what is done instead: each row is a reason."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import NamedTuple

from tests.support.paths import ROOT


class Elsewhere(NamedTuple):
    """Commands that match `pattern` as a whole. `check` raises AssertionError, or gives what is run instead."""

    pattern: str
    why: str
    check: Callable[[str], str | None]


def _paths(text: str) -> None:
    """Every path of the checkout that the command names is there."""
    for word in shlex.split(text, comments=True):
        if re.match(r"(?:deploy|docs|grafana|tests|bench)/", word):
            assert (ROOT / word).exists(), f"{word} does not exist"


def _target(text: str) -> str | None:
    """A target of the Makefile that exists; what it would do is shown."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in text.split()[1:]:
        assert word in targets, f"there is no target {word}"
    return f"make -n {' '.join(text.split()[1:])}"


def _kustomize(text: str) -> str:
    _paths(text)
    return f"kubectl kustomize {text.split()[-1]}"


def _chart(text: str) -> str | None:
    """What it would install is rendered."""
    if text.startswith("helm uninstall"):
        return None
    _paths(text)
    return re.sub(r"^helm (?:install|upgrade)", "helm template", text).replace(" --reuse-values", "")


def _unit(text: str) -> None:
    """The unit of that name is ours."""
    assert (ROOT / "deploy" / "systemd" / f"{text.split()[-1]}.service").exists()


def _module(text: str) -> None:
    """A benchmark or a set of tests is there, and its source has each flag that it is given."""
    _, _, name, *arguments = shlex.split(text, comments=True)
    if name.partition(".")[0] == "pytest":
        return
    path = ROOT / name.replace(".", "/")
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert file.exists(), f"there is no module {name}"
    for flag in (word for word in arguments if word.startswith("--")):
        assert f'"{flag}"' in file.read_text(), f"{name} has no {flag}"


def _container(text: str) -> None:
    """The container of that name is what the manifests add; the command within it is one of ours."""
    assert "name: prom-probe" in (ROOT / "deploy/kustomize/component/sidecar.yaml").read_text()
    assert "app" in (ROOT / "deploy/kustomize/example/app.yaml").read_text()


def _file(text: str) -> None:
    """The file is there; tests/deploy reads it with real programs."""
    _paths(text.replace("-f ", ""))


def _limited(text: str) -> str:
    """Under a limit in a cgroup of our own."""
    match = re.fullmatch(r"systemd-run --user --scope -p MemoryMax=(\d+)M -p MemorySwapMax=0 (.*)", text)
    assert match, "systemd-run is not given what a memory limit needs"
    return f"python -m tests.support.limited {int(match[1]) << 20} {match[2]}"


def _with_help(text: str) -> str:
    """Its arguments are right: they are parsed before the help is printed."""
    return f"{text} --help"


ELSEWHERE = (
    Elsewhere(r"make [a-z -]+", "they install, or run for minutes", _target),
    Elsewhere(r"kubectl apply -k \S+", "there is no cluster", _kustomize),
    Elsewhere(r"kubectl (?:exec|port-forward) deploy/app .*", "there is no cluster", _container),
    Elsewhere(r"helm (?:install|upgrade|uninstall) .*", "there is no cluster", _chart),
    Elsewhere(r"docker (?:compose|build) .*", "there is no engine; tests/deploy replays it", _file),
    Elsewhere(r"systemctl .*", "it would change this machine", _unit),
    Elsewhere(r"pip (?:install|uninstall) .*", "tests/release does, in environments of their own", lambda text: None),
    Elsewhere(r"prom-probe top\b.*", "it draws in a terminal; tests/e2e/test_top.py drives it", _with_help),
    Elsewhere(r"systemd-run .*", "it needs systemd and its user's session", _limited),
    Elsewhere(r"python -m (?:bench|pytest)\b.*", "they run for minutes", _module),
)
