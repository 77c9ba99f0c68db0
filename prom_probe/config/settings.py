"""The settings: one table of flags, PROM_PROBE_* variables and YAML keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from prom_probe.config.address import Address, parse_address
from prom_probe.config.budget import BUDGET_HELP, RunBudget, check_budgets, parse_budget
from prom_probe.config.remote_write import (
    URL_FORM,
    Destination,
    ExternalLabel,
    check_destinations,
    checked_selector,
    parse_destination,
    parse_external_label,
    parse_url,
)
from prom_probe.config.scrape_configs import ScrapeConfig, check_scrape_configs, parse_scrape_config
from prom_probe.config.target import URL_HELP, ScrapeTarget, check_targets, parse_sample_limit, parse_target
from prom_probe.config.units import format_duration, format_size, parse_duration, parse_interval, parse_size
from prom_probe.config.values import one_of, parse_count, parse_regex, parse_switch, parse_whole
from prom_probe.config.watch import WATCH_HELP, parse_watch
from prom_probe.model.feature import Feature
from prom_probe.model.watch import Watch


class Option(NamedTuple):
    """How a field of Config is written: its key (the flag's name without dashes), its parser, its help.

    `many`: it takes several values. `restart`: only a restart can change it. `check` raises ValueError if values that
    are valid one by one do not go together. `file_only`: it is a section of the file, and neither flag nor variable;
    `parse` takes each of its items as JSON. `commas` separate several values in a flag and in the file, too.
    """

    key: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    many: bool = False
    restart: bool = False
    check: Callable[[Any], None] = lambda values: None
    file_only: bool = False
    commas: bool = False

    @property
    def field(self) -> str:
        return self.key.replace(".", "_").replace("-", "_")

    @property
    def flag(self) -> str:
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        return f"PROM_PROBE_{self.field.upper()}"

    def show(self, value: Any) -> str:
        """A value as its parser accepts it, "" for none; commas separate several."""
        if value is None:
            return ""
        if self.many:
            return ",".join(str(item) for item in value)
        if self.parse in (parse_duration, parse_interval):
            return format_duration(value)
        if self.parse is parse_size:
            return format_size(value)
        return str(value).lower() if self.parse is parse_switch else str(value)


_Addresses = tuple[Address, ...]
_ADDRESS_HELP = "(unix:PATH for a Unix socket; empty for none)"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, in their own units (seconds, bytes)."""

    web_listen_address: Annotated[
        _Addresses,
        Option(
            "web.listen-address",
            parse_address,
            "ADDR",
            f"Serve /metrics and health checks on this address {_ADDRESS_HELP}.",
            True,
            True,
        ),
    ] = (Address("", 19990, replaceable=True),)
    api_listen_address: Annotated[
        _Addresses,
        Option(
            "api.listen-address",
            parse_address,
            "ADDR",
            f"Serve the query API, /metrics and health checks on this address {_ADDRESS_HELP}.",
            True,
            True,
        ),
    ] = (Address("127.0.0.1", 19991, replaceable=True),)
    api_allowed_host: Annotated[
        tuple[str, ...],
        Option(
            "api.allowed-host",
            str,
            "HOST",
            "Accept this host name too at the query API's addresses (* for any).",
            True,
        ),
    ] = ()
    web_enable_remote_write_receiver: Annotated[
        bool,
        Option(
            "web.enable-remote-write-receiver",
            parse_switch,
            "",
            "Accept remote writes at the query API's addresses.",
            restart=True,
        ),
    ] = False
    web_config_file: Annotated[
        str | None,
        Option(
            "web.config.file",
            str,
            "FILE",
            "A file with TLS, users and headers, in exporter-toolkit's format.",
            restart=True,
        ),
    ] = None
    web_cors_origin: Annotated[
        str | None,
        Option("web.cors.origin", parse_regex, "REGEX", "Let web pages from matching origins read the query API."),
    ] = None
    web_enable_lifecycle: Annotated[
        bool,
        Option(
            "web.enable-lifecycle",
            parse_switch,
            "",
            "Reload the settings on POST /-/reload at the query API's addresses.",
            restart=True,
        ),
    ] = False
    watch: Annotated[
        tuple[Watch, ...],
        Option("watch", parse_watch, "NAME=KIND:VALUE", f"Watch a process tree: {WATCH_HELP}.", True),
    ] = ()
    interval: Annotated[float, Option("interval", parse_interval, "DURATION", "Time between two collections.")] = 1.0
    interval_process: Annotated[
        float | None,
        Option("interval.process", parse_interval, "DURATION", "The same for process trees (default: --interval)."),
    ] = None
    interval_system: Annotated[
        float | None,
        Option("interval.system", parse_interval, "DURATION", "The same for the system (default: --interval)."),
    ] = None
    interval_gpu: Annotated[
        float | None, Option("interval.gpu", parse_interval, "DURATION", "The same for GPUs (default: --interval).")
    ] = None
    collect_max_processes: Annotated[
        int, Option("collect.max-processes", parse_count, "N", "Maximum number of processes with series of their own.")
    ] = 500
    collect_cmdline: Annotated[
        str,
        Option(
            "collect.cmdline",
            one_of("auto", "on", "off"),
            "WHEN",
            "Show command lines in proctree_process_info: on, off, or where a COMMAND is wrapped (auto).",
        ),
    ] = "auto"
    collect_context_switches: Annotated[
        bool,
        Option("collect.context-switches", parse_switch, "", "Read every thread: context switches, states, delays."),
    ] = False
    collect_pss_interval: Annotated[
        float,
        Option("collect.pss-interval", parse_duration, "DURATION", "How often to read PSS and USS (0 for never)."),
    ] = 0.0
    collect_pss_max_rss: Annotated[
        int, Option("collect.pss-max-rss", parse_size, "SIZE", "Skip PSS of larger processes: reading it stalls them.")
    ] = 512 << 20
    expose_max_window: Annotated[
        float,
        Option(
            "expose.max-window",
            parse_interval,
            "DURATION",
            "Window of the rolling maxima; it should be longer than the scrape interval.",
        ),
    ] = 120.0
    collect_priority: Annotated[
        str,
        Option(
            "collect.priority",
            one_of("normal", "high", "realtime"),
            "PRIORITY",
            "Priority of the probe workers: normal, high (nice -10) or realtime (SCHED_RR 1); the last two need "
            "CAP_SYS_NICE.",
        ),
    ] = "normal"
    gpu: Annotated[
        str,
        Option(
            "gpu",
            one_of("auto", "off", "nvidia", "amd", "intel", "demo"),
            "KIND",
            "Sample the GPUs that are found (auto), none (off), those of one vendor even if none is found "
            "(nvidia, amd, intel), or two invented ones (demo).",
        ),
    ] = "auto"
    scrape: Annotated[
        tuple[ScrapeTarget, ...],
        Option(
            "scrape",
            parse_target,
            "NAME=URL",
            f"Scrape an application's own metrics too: {URL_HELP}.",
            True,
            check=check_targets,
        ),
    ] = ()
    interval_scrape: Annotated[
        float | None,
        Option(
            "interval.scrape", parse_interval, "DURATION", "Time between two scrapes of a target (default: --interval)."
        ),
    ] = None
    scrape_expose: Annotated[
        tuple[str, ...],
        Option(
            "scrape.expose", parse_regex, "REGEX", "Show scraped metrics with matching names on /metrics too.", True
        ),
    ] = ()
    scrape_body_size_limit: Annotated[
        int, Option("scrape.body-size-limit", parse_size, "SIZE", "Maximum size of a scraped page, decompressed.")
    ] = 16 << 20
    scrape_sample_limit: Annotated[
        int,
        Option(
            "scrape.sample-limit", parse_sample_limit, "N", "Maximum number of samples of a scraped page.", restart=True
        ),
    ] = 10_000
    scrape_label_limit: Annotated[
        int,
        Option("scrape.label-limit", parse_whole, "N", "Maximum number of labels of a scraped series; 0 for no limit."),
    ] = 0
    scrape_label_name_length_limit: Annotated[
        int,
        Option(
            "scrape.label-name-length-limit",
            parse_whole,
            "N",
            "Maximum bytes of a scraped label's name; 0 for no limit.",
        ),
    ] = 0
    scrape_label_value_length_limit: Annotated[
        int,
        Option(
            "scrape.label-value-length-limit",
            parse_whole,
            "N",
            "Maximum bytes of a scraped label's value; 0 for no limit.",
        ),
    ] = 0
    scrape_configs: Annotated[
        tuple[ScrapeConfig, ...],
        Option(
            "scrape_configs",
            parse_scrape_config,
            "",
            "Jobs to scrape, each with its interval, password, TLS, limits and relabelling, as in Prometheus.",
            True,
            False,
            check_scrape_configs,
            file_only=True,
        ),
    ] = ()
    expose_per_process: Annotated[
        bool, Option("expose.per-process", parse_switch, "", "Show every process on /metrics too.")
    ] = False
    expose_system: Annotated[
        bool, Option("expose.system", parse_switch, "", "In a container, show the whole host on /metrics too.")
    ] = False
    remote_write_url: Annotated[
        tuple[Destination, ...],
        Option(
            "remote-write.url",
            parse_url,
            "URL",
            f"Send the samples to this remote write receiver: {URL_FORM}.",
            True,
            True,
            check_destinations,
        ),
    ] = ()
    remote_write: Annotated[
        tuple[Destination, ...],
        Option(
            "remote_write",
            parse_destination,
            "",
            "Receivers, each with its name, headers, password, TLS and rules, as in Prometheus.",
            True,
            True,
            check_destinations,
            file_only=True,
        ),
    ] = ()
    remote_write_interval: Annotated[
        float,
        Option(
            "remote-write.interval",
            parse_interval,
            "DURATION",
            "How often to send what /metrics shows.",
            restart=True,
        ),
    ] = 15.0
    remote_write_match: Annotated[
        tuple[str, ...],
        Option(
            "remote-write.match",
            checked_selector,
            "SELECTOR",
            "Send every sample of the series that this selects, local ones too.",
            True,
            True,
        ),
    ] = ()
    remote_write_flush_timeout: Annotated[
        float,
        Option(
            "remote-write.flush-timeout",
            parse_duration,
            "DURATION",
            "How long to wait at the end of the run until the last samples are sent.",
            restart=True,
        ),
    ] = 10.0
    external_label: Annotated[
        tuple[ExternalLabel, ...],
        Option(
            "external-label",
            parse_external_label,
            "NAME=VALUE",
            "Add this label to what is sent, where a series has none of that name.",
            True,
            True,
        ),
    ] = ()
    expose_self: Annotated[
        str,
        Option(
            "expose.self",
            one_of("essential", "full"),
            "HOW MUCH",
            "Which metrics of prom_probe itself /metrics shows: those that a fleet needs (essential) or all (full).",
            restart=True,
        ),
    ] = "essential"
    run_linger: Annotated[
        float,
        Option(
            "run.linger",
            parse_duration,
            "DURATION",
            "Keep serving for this long after COMMAND has ended.",
            restart=True,
        ),
    ] = 0.0
    budget: Annotated[
        tuple[RunBudget, ...],
        Option(
            "budget",
            parse_budget,
            "KIND=LIMIT",
            f"Exit with status 3 if a COMMAND that succeeds has used more: {BUDGET_HELP}.",
            True,
            True,
            check=check_budgets,
        ),
    ] = ()
    report: Annotated[
        str | None,
        Option(
            "report",
            str,
            "FILE",
            "Write a report of COMMAND's run to FILE when it has ended: see `prom-probe report`.",
            restart=True,
        ),
    ] = None
    run_keep: Annotated[
        int | None,
        Option(
            "run.keep",
            parse_whole,
            "N",
            "Keep what the newest N runs of a COMMAND have stored (0 for none): see `prom-probe runs`. "
            "The default is 10, in a container 0.",
            restart=True,
        ),
    ] = None
    storage_tsdb_path: Annotated[
        str | None,
        Option(
            "storage.tsdb.path",
            str,
            "DIR",
            "Directory of stored samples: run writes there, serve and query read it.",
            restart=True,
        ),
    ] = None
    storage_tsdb_wal_flush_interval: Annotated[
        float,
        Option(
            "storage.tsdb.wal-flush-interval",
            parse_interval,
            "DURATION",
            "How often the newest samples are written to --storage.tsdb.path.",
            restart=True,
        ),
    ] = 1.0
    storage_tsdb_retention_time: Annotated[
        float, Option("storage.tsdb.retention.time", parse_duration, "DURATION", "How long to keep samples.")
    ] = 21_600.0
    storage_tsdb_retention_size: Annotated[
        int, Option("storage.tsdb.retention.size", parse_size, "SIZE", "Maximum memory of samples and index.")
    ] = 32 << 20
    storage_tsdb_max_series: Annotated[
        int, Option("storage.tsdb.max-series", parse_count, "N", "Maximum number of series in the store.")
    ] = 10_000
    storage_tsdb_decode_cache_size: Annotated[
        int,
        Option(
            "storage.tsdb.decode-cache-size",
            parse_size,
            "SIZE",
            "Maximum memory of decoded blocks, kept for the next query.",
        ),
    ] = 8 << 20
    query_timeout: Annotated[float, Option("query.timeout", parse_duration, "DURATION", "Maximum time of a query.")] = (
        30.0
    )
    query_max_samples: Annotated[
        int, Option("query.max-samples", parse_count, "N", "Maximum number of samples that a query may read.")
    ] = 20_000_000
    query_max_memory: Annotated[
        int, Option("query.max-memory", parse_size, "SIZE", "Maximum memory of all running queries together.")
    ] = 64 << 20
    query_max_concurrency: Annotated[
        int,
        Option(
            "query.max-concurrency",
            parse_count,
            "N",
            "Maximum number of queries that run at once; another begins only where those before it take longer than "
            "a second.",
            restart=True,
        ),
    ] = 4
    query_lookback_delta: Annotated[
        float,
        Option(
            "query.lookback-delta",
            parse_duration,
            "DURATION",
            "Maximum age of a sample that an instant selector returns.",
        ),
    ] = 300.0
    enable_feature: Annotated[
        tuple[str, ...],
        Option(
            "enable-feature",
            one_of(*Feature),
            "NAME",
            f"Features of PromQL that are off by default, by Prometheus's names: {', '.join(Feature)}.",
            many=True,
            commas=True,
        ),
    ] = ()
    log_level: Annotated[
        str, Option("log.level", one_of("debug", "info", "warn", "error"), "LEVEL", "debug, info, warn or error.")
    ] = "info"
    log_format: Annotated[str, Option("log.format", one_of("logfmt", "json"), "FORMAT", "logfmt or json.")] = "logfmt"
    path_procfs: Annotated[str, Option("path.procfs", str, "DIR", "Where procfs is mounted.", restart=True)] = "/proc"
    path_sysfs: Annotated[str, Option("path.sysfs", str, "DIR", "Where sysfs is mounted.", restart=True)] = "/sys"
    path_cgroupfs: Annotated[str, Option("path.cgroupfs", str, "DIR", "Where cgroupfs is mounted.", restart=True)] = (
        "/sys/fs/cgroup"
    )

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """All remote write receivers."""
        return self.remote_write_url + self.remote_write


def _options() -> tuple[Option, ...]:
    hints = get_type_hints(Config, include_extras=True)
    return tuple(get_args(hint)[1] for hint in hints.values() if get_origin(hint) is Annotated)


OPTIONS = _options()
FLAGS = tuple(option for option in OPTIONS if not option.file_only)


def shown_settings(config: Config) -> dict[str, str]:
    """Every setting by key, written as in the file."""
    return {option.key: option.show(getattr(config, option.field)) for option in OPTIONS}
