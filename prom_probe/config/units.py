"""Durations and sizes: how settings write them, and how people read them."""

import re

_DURATION_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(?=.)" + "".join(rf"(?:([0-9]+){unit})?" for unit in _DURATION_MS))
_MAX_S = ((1 << 63) - 1) / 1e9  # of nanoseconds that fit into 64 bits, as in Prometheus
_SIZE = re.compile(r"([0-9]+)(?:([KMGTPE])i?)?B")


def parse_duration(text: str) -> float:
    """Seconds of a duration in Prometheus's notation ("1m30s", "500ms", "0")."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration such as 500ms, 1s or 1m30s: {text!r}")
    seconds = sum(float(n) * ms for n, ms in zip(match.groups(), _DURATION_MS.values(), strict=True) if n) / 1000
    if seconds > _MAX_S:
        raise ValueError(f"a duration must be at most 292y, not {text[:100]!r}")
    return seconds


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
        raise ValueError(f"an interval must be at least 10ms, not {text!r}")
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


def human_size(size: float) -> str:
    """A size for people, to four digits: "512 B", "12.5 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def human_duration(seconds: float) -> str:
    """A duration for people: "812 us", "1.25 ms", "9.61 s", "1h2m5s"."""
    size = abs(seconds)
    if size >= 60:
        return ("-" if seconds < 0 else "") + format_duration(round(size))
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if size * factor >= 1 or not size:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def human_value(value: float, unit: str) -> str:
    """A metric's value for people; `unit` is its family's."""
    if unit == "bytes":
        return human_size(value)
    text = f"{value:.10g}" if value == int(value) else f"{value:.4g}"
    return f"{text} s" if unit == "seconds" else text
