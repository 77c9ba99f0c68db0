"""Every page to scrape, of `--scrape` and `scrape_configs` alike, with all that concerns it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from prom_probe.config.scrape_configs import INTERVAL, PARAMETER, PATH, SCHEME, TIMEOUT, ScrapeConfig
from prom_probe.config.secret import Secret, without_secrets
from prom_probe.config.target import ScrapeTarget
from prom_probe.config.units import parse_duration

if TYPE_CHECKING:
    from prom_probe.config.settings import Config

# The part of an interval that a scrape may take: a target that hangs must not cost the next beat too.
_SCRAPE_PART = 0.9
_MAX_SCRAPE_S = 10.0

_MAX_TARGETS = 50  # each has a thread

_PORT = re.compile(r":[0-9]{1,5}$")
_PORTS = {"http": 80, "https": 443}


class PlannedTarget(NamedTuple):
    """A page to scrape.

    `name` is what our own metrics and the log call it, `pool` its job, `labels` those of its series, `job` among them.
    `address` is its URL without a user. `limits`: see `ScrapeConfig`; 0 where only those of the worker hold.
    """

    name: str
    pool: str
    labels: Mapping[str, str]
    address: Secret
    authorization: Secret | None  # of the URL's user
    interval_s: float
    timeout_s: float
    settings: ScrapeConfig

    @property
    def shown_url(self) -> str:
        """Its URL without secrets."""
        return without_secrets(self.address.reveal())

    @property
    def collector(self) -> str:
        """The name of its collector."""
        return f"scrape:{self.name}"


def plan_targets(config: Config) -> tuple[PlannedTarget, ...]:
    """All targets, those of the flags first. Raises ValueError where they do not go together."""
    interval_s = config.interval_scrape or config.interval
    planned = [_of_flag(target, interval_s) for target in config.scrape]
    for job in config.scrape_configs:
        if any(target.name == job.job_name for target in config.scrape):
            raise ValueError(f"--scrape and a job of scrape_configs are both called {job.job_name!r}")
        _timing(job.job_name, job.scrape_interval, job.scrape_timeout, interval_s)
        for group in job.static_configs:
            planned += [_of_job(job, address, group.labels, interval_s) for address in group.targets]
    if len(planned) > _MAX_TARGETS:
        raise ValueError(f"{len(planned)} targets, at most {_MAX_TARGETS} are allowed")
    names = [target.name for target in planned]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"the target {name!r} is there twice: give one of them another label instance")
    return tuple(planned)


def find_target_fault(config: Config) -> str:
    """Why the targets do not go together; "" where they do."""
    try:
        plan_targets(config)
    except ValueError as error:
        return str(error)
    return ""


def _of_flag(target: ScrapeTarget, interval_s: float) -> PlannedTarget:
    return PlannedTarget(
        target.name,
        target.name,
        {"job": target.name, "instance": target.instance},
        Secret(target.endpoint),
        target.authorization,
        interval_s,
        _default_timeout_s(interval_s),
        ScrapeConfig(job_name=target.name, honor_timestamps=False),
    )


def _of_job(job: ScrapeConfig, address: str, given: Mapping[str, str], interval_s: float) -> PlannedTarget:
    """A target of static_configs; the labels `given` with it may say how it is scraped."""
    labels = {"job": job.job_name, "instance": address} | {k: v for k, v in given.items() if not k.startswith("__")}
    name = f"{job.job_name}/{labels['instance']}"
    written = given.get(INTERVAL, job.scrape_interval), given.get(TIMEOUT, job.scrape_timeout)
    interval_s, timeout_s = _timing(name, *written, interval_s)
    scheme = given.get(SCHEME, job.scheme)
    port = "" if _PORT.search(address) else f":{_PORTS[scheme]}"
    query = {key: [value.reveal() for value in values] for key, values in job.params.items()}
    query |= {key.removeprefix(PARAMETER): [value] for key, value in given.items() if key.startswith(PARAMETER)}
    mark = "?" if query else ""
    url = f"{scheme}://{address}{port}{given.get(PATH, job.metrics_path)}{mark}{urlencode(query, doseq=True)}"
    return PlannedTarget(name, job.job_name, labels, Secret(url), None, interval_s, timeout_s, job)


def _timing(name: str, interval: str, timeout: str, default_s: float) -> tuple[float, float]:
    """How often to scrape and how long a scrape may take, in seconds. Raises ValueError if it may outlast that."""
    interval_s = parse_duration(interval) if interval else default_s
    timeout_s = parse_duration(timeout) if timeout else _default_timeout_s(interval_s)
    if timeout_s > interval_s:
        raise ValueError(f"{name}: scrape_timeout is longer than scrape_interval")
    return interval_s, timeout_s


def _default_timeout_s(interval_s: float) -> float:
    return min(_SCRAPE_PART * interval_s, _MAX_SCRAPE_S)
