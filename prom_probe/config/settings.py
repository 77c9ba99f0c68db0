"""The configuration: one struct that flags, PROM_PROBE_* variables and the YAML file fill alike."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from prom_probe.model.watch import Watch, WatchKind


class ConfigError(ValueError):
    """A setting that cannot be used; the text names the place and what would be right.

    `status` is the exit status: 2 for a setting that is wrong in itself, 1 for one that the machine does not allow.
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


_DURATION_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(?=.)" + "".join(rf"(?:(\d+){unit})?" for unit in _DURATION_MS))
_SIZE = re.compile(r"(\d+)(?:([KMGTPE])i?)?B")
_DURATION_HELP = "a duration such as 500ms, 1s or 1m30s"


def parse_duration(text: str) -> float:
    """Seconds of a duration in Prometheus's notation ("1m30s", "500ms", "0")."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not {_DURATION_HELP}: {text!r}")
    return sum(int(n) * ms for n, ms in zip(match.groups(), _DURATION_MS.values(), strict=True) if n) / 1000


def format_duration(seconds: float) -> str:
    """The shortest notation that `parse_duration` reads back."""
    left, text = round(seconds * 1000), ""
    for unit, ms in _DURATION_MS.items():
        if left >= ms and (unit not in "yw" or left % ms == 0):
            text += f"{left // ms}{unit}"
            left %= ms
    return text or "0s"


def parse_interval(text: str) -> float:
    """Seconds between two collections: a duration of at least 10 ms."""
    seconds = parse_duration(text)
    if seconds < 0.01:
        raise ValueError(f"an interval is at least 10ms, this is {text!r}")
    return seconds


def parse_size(text: str) -> int:
    """Bytes of a size in Prometheus's notation ("512MB", "1GB"; powers of 1024)."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size such as 512KB, 32MB or 1GB: {text!r}")
    return int(match[1]) << (10 * (" KMGTPE".index(match[2]) if match[2] else 0))


def format_size(size: int) -> str:
    """The shortest notation that `parse_size` reads back."""
    power = 0
    while size and size % 1024 == 0 and power < 6:
        size, power = size >> 10, power + 1
    return f"{size}{' KMGTPE'[power].strip()}B"


def parse_count(text: str) -> int:
    """A whole number above zero."""
    if not re.fullmatch(r"[0-9]{1,15}", text) or not int(text):
        raise ValueError(f"not a whole number above zero: {text!r}")
    return int(text)


def parse_switch(text: str) -> bool:
    """true or false, in the usual spellings."""
    value = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in value:
        raise ValueError(f"not true or false: {text!r}")
    return value[text.lower()]


def parse_regex(text: str) -> str:
    """A regular expression, which is matched as a whole."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {text!r}: {error}") from None
    return text


class Address(NamedTuple):
    """Where to listen: `host` and `port`, or a Unix socket's `path`. Host "" is every address, port 0 a free one."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return bool(self.path) or self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `:PORT`, `[V6]:PORT` or `unix:PATH`."""
    if text.startswith("unix:") and len(text) > 5:
        return Address("", 0, text[5:])
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]/\s]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"not HOST:PORT, :PORT or unix:PATH: {text!r}")
    return Address(match[1] or match[2] or "", int(match[3]))


# "containers" is chosen where nothing is, it has no notation.
_WRITTEN_KINDS: tuple[WatchKind, ...] = ("pid", "comm", "cmdline", "cgroup")
_WATCH_HELP = "NAME=pid:NUMBER, NAME=comm:REGEX, NAME=cmdline:REGEX or NAME=cgroup:PATH"


def parse_watch(text: str) -> Watch:
    """`name=pid:123`, `name=comm:REGEX`, `name=cmdline:REGEX` or `name=cgroup:PATH`."""
    name, equals, rest = text.partition("=")
    kind, colon, value = rest.partition(":")
    known: WatchKind | None = next((k for k in _WRITTEN_KINDS if k == kind), None)
    if not (name and equals and colon and value) or known is None:
        raise ValueError(f"not {_WATCH_HELP}: {text!r}")
    if kind == "pid" and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value)):
        raise ValueError(f"not a process number: {value!r} in {text!r}")
    if kind in ("comm", "cmdline"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {value!r} in {text!r}: {error}") from None
    return Watch(name, known, value)


_MAX_SCRAPES = 50  # each has a thread
_MAX_SAMPLES = 1_000_000
_URL_HELP = "NAME=http://HOST:PORT/PAGE, NAME=https://… or NAME=unix:PATH[:/PAGE]"
_URL = re.compile(r"https?://(?:\[[0-9a-fA-F:.%]+\]|[^:/?#@\[\]\s]+)(?::([0-9]{1,5}))?(?:[/?][^\s#]*)?|unix:[^\s:].*")


class Scrape(NamedTuple):
    """A page of metrics to read: its series' `job`, and where it is."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}={self.url}"


def parse_scrape(text: str) -> Scrape:
    """`name=http://HOST:PORT/PAGE`, the same with https, or `name=unix:PATH[:/PAGE]`."""
    name, equals, url = text.partition("=")
    match = _URL.fullmatch(url)
    if not (name and equals) or match is None or not 0 < int(match[1] or 1) < 65536:
        raise ValueError(f"not {_URL_HELP}: {text!r}")
    return Scrape(name, url)


def check_scrapes(scrapes: Sequence[Scrape]) -> None:
    """ValueError where two targets have one name, or there are too many."""
    if len(scrapes) > _MAX_SCRAPES:
        raise ValueError(f"{len(scrapes)} targets, at most {_MAX_SCRAPES} are possible")
    names = [scrape.name for scrape in scrapes]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"two targets are called {name!r}: a name is one target's")


def parse_sample_limit(text: str) -> int:
    """How many samples a page may have: the ring has room for two such rows."""
    number = parse_count(text)
    if number > _MAX_SAMPLES:
        raise ValueError(f"at most {_MAX_SAMPLES} are possible, not {text!r}")
    return number


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes these words only."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"not one of {', '.join(choices)}: {text!r}")
        return text

    return parse


class Option(NamedTuple):
    """How a field of Config is written: its key (the flag's name without dashes), its parser, its help.

    `many`: several values. `restart`: a reload cannot change it. `check`: ValueError where several values, each of them
    right by itself, do not go together.
    """

    key: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    many: bool = False
    restart: bool = False
    check: Callable[[Any], None] = lambda values: None

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
        """A value of this setting as its parser takes it, "" for none; several separated by commas."""
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
_ADDRESS_HELP = "(repeatable; unix:PATH for a socket; empty for none)"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, in their own units (seconds, bytes)."""

    web_listen_address: Annotated[
        _Addresses,
        Option(
            "web.listen-address", parse_address, "ADDR", f"Serve /metrics and health here {_ADDRESS_HELP}.", True, True
        ),
    ] = (Address("", 19990),)
    api_listen_address: Annotated[
        _Addresses,
        Option(
            "api.listen-address",
            parse_address,
            "ADDR",
            f"Serve the query API, and the same, here {_ADDRESS_HELP}.",
            True,
            True,
        ),
    ] = (Address("127.0.0.1", 19991),)
    api_allowed_host: Annotated[
        tuple[str, ...],
        Option("api.allowed-host", str, "HOST", "A further Host header that a loopback API listener answers to.", True),
    ] = ()
    web_enable_remote_write_receiver: Annotated[
        bool,
        Option(
            "web.enable-remote-write-receiver",
            parse_switch,
            "",
            "Take remote writes on the query API's addresses.",
            restart=True,
        ),
    ] = False
    web_config_file: Annotated[
        str | None,
        Option("web.config.file", str, "FILE", "TLS, users and headers, as exporter-toolkit has them.", restart=True),
    ] = None
    web_cors_origin: Annotated[
        str | None,
        Option("web.cors.origin", parse_regex, "REGEX", "Let web pages of these origins read the query API."),
    ] = None
    web_enable_lifecycle: Annotated[
        bool,
        Option(
            "web.enable-lifecycle",
            parse_switch,
            "",
            "Let POST /-/reload on the query API's addresses read the settings anew.",
            restart=True,
        ),
    ] = False
    watch: Annotated[
        tuple[Watch, ...],
        Option("watch", parse_watch, "NAME=KIND:VALUE", f"Watch a process tree: {_WATCH_HELP}.", True),
    ] = ()
    interval: Annotated[float, Option("interval", parse_interval, "DURATION", "Time between two collections.")] = 1.0
    interval_process: Annotated[
        float | None, Option("interval.process", parse_interval, "DURATION", "The same, for process trees alone.")
    ] = None
    interval_system: Annotated[
        float | None, Option("interval.system", parse_interval, "DURATION", "The same, for the system alone.")
    ] = None
    interval_gpu: Annotated[
        float | None, Option("interval.gpu", parse_interval, "DURATION", "The same, for GPUs alone.")
    ] = None
    collect_max_processes: Annotated[
        int, Option("collect.max-processes", parse_count, "N", "How many processes get series of their own.")
    ] = 500
    collect_context_switches: Annotated[
        bool,
        Option("collect.context-switches", parse_switch, "", "Read each thread: context switches, states, delays."),
    ] = False
    collect_pss_interval: Annotated[
        float,
        Option("collect.pss-interval", parse_duration, "DURATION", "How often to read PSS and USS (0 for never)."),
    ] = 0.0
    collect_pss_max_rss: Annotated[
        int, Option("collect.pss-max-rss", parse_size, "SIZE", "No PSS of larger processes: it stops them meanwhile.")
    ] = 512 << 20
    expose_max_window: Annotated[
        float,
        Option(
            "expose.max-window", parse_interval, "DURATION", "The rolling window of maxima; longer than a scrape's."
        ),
    ] = 120.0
    collect_priority: Annotated[
        str,
        Option(
            "collect.priority",
            one_of("normal", "high", "realtime"),
            "PRIORITY",
            "Of probe workers: normal, high (nice -10) or realtime (SCHED_RR 1); the last two need CAP_SYS_NICE.",
        ),
    ] = "normal"
    gpu: Annotated[
        str,
        Option(
            "gpu",
            one_of("auto", "off", "nvidia", "amd", "intel", "demo"),
            "KIND",
            "Sample the GPUs that are found (auto), none (off), those of one vendor whether found or not (nvidia, amd, "
            "intel), or two that do not exist (demo).",
        ),
    ] = "auto"
    scrape: Annotated[
        tuple[Scrape, ...],
        Option(
            "scrape",
            parse_scrape,
            "NAME=URL",
            f"Read an application's own metrics too: {_URL_HELP}.",
            True,
            check=check_scrapes,
        ),
    ] = ()
    interval_scrape: Annotated[
        float | None, Option("interval.scrape", parse_interval, "DURATION", "Time between two readings of these.")
    ] = None
    scrape_expose: Annotated[
        tuple[str, ...],
        Option("scrape.expose", parse_regex, "REGEX", "Of these, show the metrics with such names on /metrics.", True),
    ] = ()
    scrape_body_size_limit: Annotated[
        int, Option("scrape.body-size-limit", parse_size, "SIZE", "How much a page may have, decompressed.")
    ] = 16 << 20
    scrape_sample_limit: Annotated[
        int,
        Option("scrape.sample-limit", parse_sample_limit, "N", "How many samples a page may have.", restart=True),
    ] = 10_000
    expose_per_process: Annotated[
        bool, Option("expose.per-process", parse_switch, "", "Show each process on /metrics too.")
    ] = False
    expose_system: Annotated[
        bool, Option("expose.system", parse_switch, "", "Inside a container, show the whole host on /metrics too.")
    ] = False
    run_linger: Annotated[
        float,
        Option("run.linger", parse_duration, "DURATION", "Serve on for this long after COMMAND's end.", restart=True),
    ] = 0.0
    storage_tsdb_path: Annotated[
        str | None, Option("storage.tsdb.path", str, "DIR", "Keep the samples in this directory too.", restart=True)
    ] = None
    storage_tsdb_wal_flush_interval: Annotated[
        float,
        Option(
            "storage.tsdb.wal-flush-interval",
            parse_interval,
            "DURATION",
            "How often the newest ones go there.",
            restart=True,
        ),
    ] = 1.0
    storage_tsdb_retention_time: Annotated[
        float, Option("storage.tsdb.retention.time", parse_duration, "DURATION", "How long samples are kept.")
    ] = 21_600.0
    storage_tsdb_retention_size: Annotated[
        int, Option("storage.tsdb.retention.size", parse_size, "SIZE", "How much memory samples and index may take.")
    ] = 32 << 20
    storage_tsdb_max_series: Annotated[
        int, Option("storage.tsdb.max-series", parse_count, "N", "How many series the store takes.")
    ] = 10_000
    storage_tsdb_decode_cache_size: Annotated[
        int, Option("storage.tsdb.decode-cache-size", parse_size, "SIZE", "How much memory decoded blocks may take.")
    ] = 8 << 20
    query_timeout: Annotated[
        float, Option("query.timeout", parse_duration, "DURATION", "How long a query may take.")
    ] = 30.0
    query_max_samples: Annotated[
        int, Option("query.max-samples", parse_count, "N", "How many samples a query may read.")
    ] = 20_000_000
    query_max_memory: Annotated[
        int, Option("query.max-memory", parse_size, "SIZE", "How much memory all running queries may take together.")
    ] = 64 << 20
    query_max_concurrency: Annotated[
        int,
        Option("query.max-concurrency", parse_count, "N", "How many queries run at once; others wait.", restart=True),
    ] = 4
    query_lookback_delta: Annotated[
        float, Option("query.lookback-delta", parse_duration, "DURATION", "How old a sample an instant selector takes.")
    ] = 300.0
    log_level: Annotated[
        str, Option("log.level", one_of("debug", "info", "warn", "error"), "LEVEL", "debug, info, warn or error.")
    ] = "info"
    log_format: Annotated[str, Option("log.format", one_of("logfmt", "json"), "FORMAT", "logfmt or json.")] = "logfmt"
    path_procfs: Annotated[str, Option("path.procfs", str, "DIR", "Where procfs is mounted.", restart=True)] = "/proc"
    path_sysfs: Annotated[str, Option("path.sysfs", str, "DIR", "Where sysfs is mounted.", restart=True)] = "/sys"
    path_cgroupfs: Annotated[str, Option("path.cgroupfs", str, "DIR", "Where cgroupfs is mounted.", restart=True)] = (
        "/sys/fs/cgroup"
    )


def _options() -> tuple[Option, ...]:
    hints = get_type_hints(Config, include_extras=True)
    return tuple(get_args(hint)[1] for hint in hints.values() if get_origin(hint) is Annotated)


OPTIONS = _options()


def shown_settings(config: Config) -> dict[str, str]:
    """Every setting as it would be written, by key."""
    return {option.key: option.show(getattr(config, option.field)) for option in OPTIONS}


_DEEPEST = 10  # mappings in one another


class Given(NamedTuple):
    """A setting of the file: what is written, and where (for an error's text)."""

    value: str | list[str]
    place: str


def find_config(
    flags: Mapping[str, str | Iterable[str]], environ: Mapping[str, str] = os.environ, *, file: str | None = None
) -> tuple[Config, list[str]]:
    """The Config of `flags` (by key), then the environment, then the YAML `file`, then the defaults; and all faults.

    Several values in one variable are separated by commas. Each fault names its place; the Config lacks what is faulty.
    """
    values: dict[str, Any] = {}
    from_file, faults = _read_file(file) if file else ({}, [])
    for option in OPTIONS:
        given = from_file.pop(option.key, None)
        if option.key in flags:
            source: Given | None = Given(_texts(flags[option.key]), option.flag)
        elif option.variable in environ:
            text = environ[option.variable]
            source = Given(text.split(",") if option.many else text, option.variable)
        else:
            source = given
        if source is not None:
            try:
                values[option.field] = _parsed(option, source.value)
            except ValueError as error:
                faults.append(f"{source.place}: {error}")
    faults += [f"{given.place}: unknown key" for given in from_file.values()]
    return Config(**values), faults


def make_config(
    flags: Mapping[str, str | Iterable[str]], environ: Mapping[str, str] = os.environ, *, file: str | None = None
) -> Config:
    """The same, without faults: ConfigError tells the first one, and how many more there are."""
    config, faults = find_config(flags, environ, file=file)
    if faults:
        raise ConfigError(faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))
    return config


class Source(NamedTuple):
    """Where the settings come from, for reading them again: the flags that were given, and the file's path."""

    flags: dict[str, str | list[str]]
    file: str | None = None

    def read(self) -> Config:
        """The Config of these flags, the environment and the file as it is now. ConfigError as `make_config`."""
        return make_config(self.flags, file=self.file)


def _texts(given: str | Iterable[str]) -> str | list[str]:
    return given if isinstance(given, str) else list(given)


def _parsed(option: Option, given: str | list[str]) -> Any:
    if option.many:
        texts = [given] if isinstance(given, str) else given
        values = tuple(option.parse(text.strip()) for text in texts if text.strip())
        option.check(values)
        return values
    if not isinstance(given, str):
        raise ValueError("takes one value, not a list")
    return option.parse(given)


def _read_file(path: str) -> tuple[dict[str, Given], list[str]]:
    """The YAML file's settings by key, nested mappings joined by dots, and what is wrong with them."""
    import yaml

    try:
        with open(path, encoding="utf-8") as stream:
            document = yaml.compose(stream, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path}: {getattr(error, 'strerror', None) or error}"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        return {}, [f"{path}:{line} {getattr(error, 'problem', None) or ' '.join(str(error).split())}"]
    found: dict[str, Given] = {}
    faults: list[str] = []
    if isinstance(document, yaml.MappingNode):
        _flatten(document, "", path, found, faults)
    elif document is not None and document.tag != "tag:yaml.org,2002:null":
        faults.append(f"{path}: not a mapping of keys to values")
    return found, faults


def _flatten(node: Any, prefix: str, path: str, found: dict[str, Given], faults: list[str]) -> None:
    """Take in a YAML mapping node's settings."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    for key, value in node.value:
        name = f"{prefix}{key.value}" if isinstance(key, ScalarNode) else f"{prefix}?"
        place = f"{path}: line {key.start_mark.line + 1}: {name}"
        items = value.value if isinstance(value, SequenceNode) else [value]
        if name in found:
            faults.append(f"{place}: given twice")
        elif isinstance(value, MappingNode) and name.count(".") > _DEEPEST:  # an alias of itself, perhaps
            faults.append(f"{place}: too many mappings in one another")
        elif isinstance(value, MappingNode):
            _flatten(value, f"{name}.", path, found, faults)
        elif not all(isinstance(item, ScalarNode) for item in items):
            faults.append(f"{place}: not a single value, nor a list of such")
        elif isinstance(value, SequenceNode):
            found[name] = Given([_scalar(item) for item in items], place)
        else:
            found[name] = Given(_scalar(value), place)


def _scalar(node: Any) -> str:
    """A scalar as it is written; nothing for null."""
    return "" if node.tag == "tag:yaml.org,2002:null" else str(node.value)
