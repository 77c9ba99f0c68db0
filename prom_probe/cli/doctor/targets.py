"""Checks whether the pages to scrape can be reached, come in time, and can be parsed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prom_probe.cli.doctor.finding import Finding
from prom_probe.config.planned_target import PlannedTarget, plan_targets
from prom_probe.config.settings import Config
from prom_probe.config.units import format_duration, format_size

# What to change, by the reason of a failed scrape.
_CHANGES = {
    "connect": "start what should answer there, or give another URL with --scrape; only the containers of a pod share "
    "127.0.0.1",
    "timeout": "give it more time with a longer --interval.scrape (it gets nine tenths of that) or scrape_timeout, or "
    "make it cheaper",
    "http": "give the path of its metrics with --scrape, and a password or token, if it wants one, in scrape_configs",
    "size": "allow more with --scrape.body-size-limit, or make the page smaller",
    "tls": "name its CA in tls_config: ca_file of scrape_configs; insecure_skip_verify: true there trusts anyone",
    "credentials": "have the file there, readable by prom_probe's user",
    "parse": "give the path of its metrics with --scrape; if this is it, have it answer in the text format or "
    "OpenMetrics, as the Accept header asks",
    "samples": "allow more with --scrape.sample-limit, or make the page smaller",
    "labels": "make it use fewer or shorter labels",
}


def check_targets(config: Config) -> Iterator[Finding]:
    """A finding for each target; all are scraped at the same time."""
    targets = plan_targets(config)
    if not targets:
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(targets)) as pool:
        yield from pool.map(lambda target: _check(config, target), targets)


def _check(config: Config, planned: PlannedTarget) -> Finding:
    from prom_probe.collectors.scrape.collector import is_openmetrics
    from prom_probe.collectors.scrape.exposition_error import ExpositionError
    from prom_probe.collectors.scrape.page import ExpositionPage
    from prom_probe.probe.scraper import make_source, make_target
    from prom_probe.sources.http_page import PageError

    subject, source = f"target {planned.name}", planned.shown_url
    started_s = time.monotonic()
    pages, target = make_source(config, planned), make_target(config, planned)
    try:
        page = pages.read(planned.timeout_s)
        openmetrics = is_openmetrics(page)
        samples = ExpositionPage(target.limits, target.labels.finish).read(page.body, openmetrics).samples
    except (PageError, ExpositionError) as error:
        without = f'up{{job="{planned.pool}"}} is 0, and nothing of its page is stored'
        return Finding(subject, source, "missing", "", str(error), _CHANGES[error.reason], without)
    finally:
        pages.close()
    took = format_duration(max(0.001, round(time.monotonic() - started_s, 3)))
    form = "OpenMetrics" if openmetrics else "text"
    return Finding(subject, source, "ok", f"{samples} samples, {form}, {format_size(len(page.body))} in {took}")
