"""`/api/v1/status/*`, `targets`, and empty answers for what we do not have: rules, alerts."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prom_probe.model.labels import METRIC_NAME, label_value
from prom_probe.model.matcher import Matcher
from prom_probe.model.sample import is_stale
from prom_probe.model.series import Newest
from prom_probe.web.api.labels import metadata_limit, selector_of
from prom_probe.web.api.params import MAX_TIME_MS, MIN_TIME_MS, parameters_of
from prom_probe.web.api.reply import ApiError, encode, success
from prom_probe.web.context import AppContext, ServedTarget
from prom_probe.web.http.message import JSON, Answer, Request, Response

# The Prometheus release whose API and PromQL this is: clients decide by it what to ask for; ours would look ancient.
API_VERSION = "3.14.0"

# The scrape pool of our collectors, and their job.
POOL = "prom_probe"


# What Prometheus says of an empty head: minTime is the largest number, maxTime the smallest.
_NO_TIME_MS = (1 << 63) - 1

_MAX_TSDB_LIMIT = 10_000


def buildinfo(context: AppContext, request: Request) -> Response:
    """Version and origin; no `features`: their absence tells clients that this is a plain Prometheus."""
    return success(_versions(context))


def version(context: AppContext, request: Request) -> Response:
    """The same as `buildinfo`, without the API's envelope."""
    return Response(200, encode(_versions(context)) + b"\n", JSON)


def _versions(context: AppContext) -> dict[str, str]:
    ours = context.about.build_info
    unknown = dict.fromkeys(("revision", "branch", "buildUser", "buildDate", "goVersion"), "")
    return {**unknown, **ours, "version": API_VERSION, "prom_probe_version": ours.get("version", "")}


def config(context: AppContext, request: Request) -> Response:
    """The configuration as YAML, without secrets."""
    return success({"yaml": context.about.config_yaml()})


def flags(context: AppContext, request: Request) -> Response:
    """The flags' values by name."""
    return success(dict(context.about.flags()))


def runtimeinfo(context: AppContext, request: Request) -> Response:
    """Facts about the process that answers."""
    return success(
        {
            "startTime": rfc3339(context.about.start_time_s),
            "CWD": os.getcwd(),
            "hostname": socket.gethostname(),
            "serverTime": rfc3339(context.clock()),
            "reloadConfigSuccess": context.about.reload_succeeded(),
            "goroutineCount": threading.active_count(),
            "GOMAXPROCS": os.cpu_count(),
            "storageRetention": context.about.storage_retention(),
        }
    )


def tsdb(context: AppContext, request: Request) -> Answer:
    """The number of series, and the names and values with most of them: `limit` of each, by default 10."""
    limit = _tsdb_limit(parameters_of(request).get("limit"))
    store = context.store
    snapshot, stats, oldest_ms, newest_ms = store.snapshot(), store.stats(), store.oldest_ms(), store.newest_ms()
    chunks = store.chunks()

    def job(deadline: float) -> Iterable[bytes]:
        names: Counter[str] = Counter()
        pairs: Counter[str] = Counter()
        values: dict[str, set[str]] = {}
        for labels in snapshot.series(MIN_TIME_MS, MAX_TIME_MS, (), deadline=deadline):
            for name, value in labels:
                pairs[f"{name}={value}"] += 1
                values.setdefault(name, set()).add(value)
            names[label_value(labels, METRIC_NAME)] += 1
        data = {
            "headStats": {
                "numSeries": stats.series,
                "numLabelPairs": len(pairs),
                "chunkCount": chunks,
                "numSamples": stats.samples,
                "minTime": _NO_TIME_MS if oldest_ms is None else oldest_ms,
                "maxTime": -_NO_TIME_MS - 1 if newest_ms is None else newest_ms,
            },
            "seriesCountByMetricName": _top(names, limit),
            "labelValueCountByLabelName": _top(Counter({k: len(v) for k, v in values.items()}), limit),
            "memoryInBytesByLabelName": _top(Counter({k: sum(map(len, v)) for k, v in values.items()}), limit),
            "seriesCountByLabelValuePair": _top(pairs, limit),
        }
        return [success(data).body]

    return context.queries.run(job, context.limits.timeout_s, inline=False)


def _tsdb_limit(text: str) -> int:
    if not text:
        return 10
    if not re.fullmatch(r"\+?[0-9]{1,18}", text, re.ASCII) or not int(text):
        raise ApiError("bad_data", "limit must be a positive number")
    if int(text) > _MAX_TSDB_LIMIT:
        raise ApiError("bad_data", f"limit must not exceed {_MAX_TSDB_LIMIT}")
    return int(text)


def _top(counts: Counter[str], limit: int) -> list[dict[str, object]]:
    return [{"name": name, "value": count} for name, count in counts.most_common(limit)]


def scrape_pools(context: AppContext, request: Request) -> Response:
    """The jobs of the targets, and one for our own collectors."""
    return success({"scrapePools": sorted({POOL, *(target.labels["job"] for target in _scraped(context).values())})})


_FAILED = "the newest collection failed"  # for a reason that was not told


def targets(context: AppContext, request: Request) -> Response:
    """Our collectors and what they scrape as targets: `state`, `scrapePool`.

    A target is up if its last scrape succeeded, a collector of ours if its last collection did.
    """
    params = parameters_of(request)
    state, pool = params.get("state").lower(), params.get("scrapePool")
    scraped = _scraped(context)
    rows = context.store.newest() if not state or state in ("any", "active") else ()
    health = _collector_values(rows, "prom_probe_collector_success")
    seconds = _collector_values(rows, "prom_probe_collector_duration_seconds")
    active = []
    for row in rows:
        target = scraped.get(row.collector)
        up = health.get(row.collector) if target is None else _up(row)
        active.append(
            _told(row.collector, target)
            | {
                "lastError": "" if up != 0.0 else context.about.fault_of(row.collector) or _FAILED,
                "lastScrape": rfc3339(row.t_ms / 1000),
                "lastScrapeDuration": seconds.get(row.collector, 0.0),
                "health": "unknown" if up is None else "up" if up else "down",
            }
        )
    active = [one for one in active if pool in ("", one["scrapePool"])]
    return success({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {POOL: 0}})


def _scraped(context: AppContext) -> Mapping[str, ServedTarget]:
    return context.about.targets()


def _told(collector: str, target: ServedTarget | None) -> dict[str, object]:
    """What does not change from one collection to the next."""
    if target is None:
        return {
            "discoveredLabels": {"__address__": collector, "job": POOL},
            "labels": {"instance": collector, "job": POOL},
            "scrapePool": POOL,
            "scrapeUrl": "",
            "globalUrl": "",
        }
    return {
        "discoveredLabels": {"__address__": target.labels["instance"], **target.labels},
        "labels": dict(target.labels),
        "scrapePool": target.labels["job"],
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "scrapeInterval": target.interval,
        "scrapeTimeout": target.timeout,
    }


def _up(row: Newest) -> float | None:
    """Whether the scrape that made this row succeeded."""
    for column, value in zip(row.columns, memoryview(row.payload).cast("d"), strict=False):
        if column.family.name == "up" and not column.exposed:
            return None if is_stale(value) else value
    return None


def _target(row: Newest, scraped: Mapping[str, ServedTarget]) -> Mapping[str, str]:
    """The labels of a collector as a target."""
    target = scraped.get(row.collector)
    return {"instance": row.collector, "job": POOL} if target is None else target.labels


def targets_metadata(context: AppContext, request: Request) -> Answer:
    """Type, help and unit of the metrics of each collector: `match_target`, `metric`, `limit`."""
    params = parameters_of(request)
    limit, wanted, selector = metadata_limit(params, "limit"), params.get("metric"), params.get("match_target")
    rows, scraped = context.store.newest(), _scraped(context)

    def job(deadline: float) -> Iterable[bytes]:
        matchers = selector_of("match_target", selector) if selector else []
        data: list[dict[str, object]] = []
        for row in rows:
            target = _target(row, scraped)
            if not all(_matches(matcher, target.get(matcher.name, ""), deadline) for matcher in matchers):
                continue
            for family in dict.fromkeys(column.family for column in row.columns):
                if 0 <= limit <= len(data):
                    break
                if wanted in ("", family.name):
                    about = {"type": family.type, "help": family.help, "unit": family.unit}
                    data.append({"target": target, **({} if wanted else {"metric": family.name}), **about})
        if wanted and not data:
            raise ApiError("not_found", "specified metadata not found")
        return [success(data).body]

    return context.queries.run(job, context.limits.timeout_s, inline=not selector)


def _matches(matcher: Matcher, value: str, deadline: float) -> bool:
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    from prom_probe.model.regex import compile_anchored

    return compile_anchored(matcher.value).matches(value, deadline) == (matcher.op == "=~")


def _collector_values(rows: Iterable[Newest], name: str) -> dict[str, float]:
    """The newest value of `name` by its label `collector`."""
    values = {}
    for row in rows:
        payload = memoryview(row.payload).cast("d")
        for column, value in zip(row.columns, payload, strict=False):
            if column.family.name == name and not is_stale(value):
                values[label_value(column.labels, "collector")] = value
    return values


def constant(data: object) -> Callable[[AppContext, Request], Response]:
    """A handler that always gives `data`: for what we do not have, in the shape that clients expect."""
    return lambda context, request: success(data)


def rfc3339(seconds: float) -> str:
    """A time in UTC with milliseconds."""
    import time

    whole, ms = divmod(round(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{ms:03d}Z"
