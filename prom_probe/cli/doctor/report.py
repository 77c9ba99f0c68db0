"""Collects all findings, and prints them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby

import msgspec

from prom_probe.cli.doctor.cgroups import check_cgroup
from prom_probe.cli.doctor.finding import Finding
from prom_probe.cli.doctor.identity import Identity, read_identity
from prom_probe.cli.doctor.machine import check_gpus, check_system
from prom_probe.cli.doctor.processes import check_files, check_watches, find_trees
from prom_probe.cli.doctor.receivers import check_receivers
from prom_probe.cli.doctor.service import (
    check_addresses,
    check_packages,
    check_shared_memory,
    check_storage,
    check_web_config,
)
from prom_probe.cli.doctor.targets import check_targets
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.model.printable import printable, printable_json

_WORDS = {"ok": "ok", "missing": "MISSING", "absent": "absent"}


class Report(msgspec.Struct):
    """All findings, and the identity that we had."""

    identity: Identity | None
    findings: list[Finding]

    @property
    def exit_status(self) -> int:
        """1 if something is missing."""
        return 0 if self.ok else 1

    @property
    def ok(self) -> bool:
        """Whether nothing is missing that the settings ask for."""
        return all(finding.status != "missing" for finding in self.findings)


def examine(config: Config) -> Report:
    """Check everything once. Nothing is started; nothing is written, except to an existing storage directory."""
    identity = read_identity(config.path_procfs) if os.path.isdir(config.path_procfs) else None
    return Report(identity, [*_check_sources(config, identity), *_check_settings(config)])


def _check_sources(config: Config, identity: Identity | None) -> Iterator[Finding]:
    from prom_probe.log import Log
    from prom_probe.run.collector_context import once_context

    if identity is None:
        reason = f"there is no procfs at {config.path_procfs}"
        if config.path_procfs == "/proc":
            yield Finding("processes", "/proc", "absent", "psutil is used", reason, "", "no IO, no cgroup_*")
        else:
            yield Finding("processes", "/proc", "missing", "", reason, "mount it there, or change --path.procfs")
        return
    try:
        context = once_context(config, Log("error"))
    except ConfigError as error:
        change = "mount a whole procfs there, or change --path.procfs"
        yield Finding("processes", "/proc", "missing", "", str(error), change, "prom-probe run does not start")
        return
    trees = find_trees(context)
    yield from check_watches(context, identity, trees)
    pss = config.collect_pss_interval > 0
    for tree, members in trees.items():
        yield from check_files(context, identity, tree, members, pss)
        yield from check_cgroup(context, identity, tree, members)
    yield from check_system(context, identity)
    yield check_gpus(context)


def _check_settings(config: Config) -> Iterator[Finding]:
    yield from check_targets(config)
    yield from check_addresses(config)
    yield from check_web_config(config)
    yield from check_storage(config)
    yield check_shared_memory()
    yield from check_packages(config)
    yield from check_receivers(config)


def render_json(report: Report) -> str:
    """An object: ok, identity, findings."""
    identity = str(report.identity) if report.identity else ""
    answer = {"ok": report.ok, "identity": identity, "findings": report.findings}
    return printable_json(msgspec.json.format(msgspec.json.encode(answer)).decode())


def render_text(report: Report) -> str:
    """A paragraph for each subject, and a last line with the result."""
    lines = [f"prom-probe: {report.identity}"] if report.identity else []
    for subject, findings in groupby(report.findings, key=lambda finding: finding.subject):
        lines += ["", printable(subject)]
        for finding in findings:
            lines.append(printable(f"  {_WORDS[finding.status]:<8} {finding.source:<24} {finding.detail}".rstrip()))
            for title, text in (
                ("why", finding.reason),
                ("change", finding.change),
                ("without", finding.without),
            ):
                if text and finding.status != "ok":
                    lines.append(printable(f"           {title + ':':<9}{text}"))
    missing = sum(finding.status == "missing" for finding in report.findings)
    lines += ["", f"{missing} missing" if missing else "Nothing is missing that was asked for."]
    return "\n".join(lines)
