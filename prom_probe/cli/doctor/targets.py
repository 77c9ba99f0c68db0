"""Checks whether the targets of --scrape can be reached, answer in time, and serve what can be parsed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prom_probe.cli.doctor.finding import Finding
from prom_probe.config.settings import Config
from prom_probe.config.target import ScrapeTarget
from prom_probe.config.units import format_duration, format_size

# What to change, by the reason of a failed scrape.
_CHANGES = {
    "connect": "start what should answer there, or give another URL with --scrape; only the containers of a pod share "
    "127.0.0.1",
    "timeout": "give it more time with a longer --interval.scrape (it gets nine tenths of that), or make it cheaper",
    "http": "give the path of its metrics with --scrape, and let it answer there without a password",
    "size": "allow more with --scrape.body-size-limit, or make the page smaller",
    "tls": "name its CA in tls_config: ca_file of scrape_configs; insecure_skip_verify: true there trusts anyone",
    "credentials": "have the file there, readable by prom_probe's user",
    "parse": "give the path of its metrics with --scrape; if this is it, its format is neither text nor OpenMetrics",
    "samples": "allow more with --scrape.sample-limit, or make the page smaller",
    "labels": "make it use fewer or shorter labels",
}


def check_targets(config: Config) -> Iterator[Finding]:
    """A finding for each target; all are scraped at the same time."""
    if not config.scrape:
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(config.scrape)) as pool:
        yield from pool.map(lambda scrape: _check(config, scrape), config.scrape)


def _check(config: Config, scrape: ScrapeTarget) -> Finding:
    from prom_probe.collectors.scrape.collector import is_openmetrics
    from prom_probe.collectors.scrape.exposition_error import ExpositionError
    from prom_probe.collectors.scrape.page import ExpositionPage, PageLimits
    from prom_probe.collectors.scrape.target_labels import TargetLabels
    from prom_probe.probe.scraper import make_source, timeout_s
    from prom_probe.sources.http_page import PageError

    subject, source = f"target {scrape.name}", scrape.url
    started_s = time.monotonic()
    pages = make_source(config, scrape)
    try:
        page = pages.read(timeout_s(config))
        openmetrics = is_openmetrics(page)
        limits = PageLimits(samples=config.scrape_sample_limit)
        samples = ExpositionPage(limits, TargetLabels({}).finish).read(page.body, openmetrics).samples
    except (PageError, ExpositionError) as error:
        without = f'up{{job="{scrape.name}"}} is 0, and nothing of its page is stored'
        return Finding(subject, source, "missing", "", str(error), _CHANGES[error.reason], without)
    finally:
        pages.close()
    took = format_duration(max(0.001, round(time.monotonic() - started_s, 3)))
    form = "OpenMetrics" if openmetrics else "text"
    return Finding(subject, source, "ok", f"{samples} samples, {form}, {format_size(len(page.body))} in {took}")
