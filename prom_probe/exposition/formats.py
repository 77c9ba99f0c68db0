"""The exposition formats: negotiation, how each writes names, and the header lines of a family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prom_probe.model.family import Family
from prom_probe.model.labels import METRIC_NAME, Labels, escape_value
from prom_probe.model.written_names import CREATED, ENDINGS, created_metric

_LEGACY_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Format(NamedTuple):
    """One exposition format: how it writes a family's name and header lines and a series, and how the text ends.

    `whole`: a family includes its `_created` series, and the series of one metric (all its buckets) stand together.
    """

    content_type: str
    name: Callable[[Family], str]
    head: Callable[[Family], str]
    series: Callable[[Family, Labels], str]
    end: bytes
    whole: bool = False


# -- escaping of names that classic formats cannot have, by the scheme that a scraper asks for (`escaping=`)


def _underscores(name: str) -> str:
    return "".join(c if _legacy(c, i) else "_" for i, c in enumerate(name))


def _dots(name: str) -> str:
    out = []
    for i, c in enumerate(name):
        out.append("__" if c == "_" else "_dot_" if c == "." else c if _legacy(c, i) else "__")
    return "".join(out)


def _values(name: str) -> str:
    if _LEGACY_NAME.fullmatch(name):
        return name
    return "U__" + "".join("__" if c == "_" else c if _legacy(c, i) else f"_{ord(c):x}_" for i, c in enumerate(name))


def _legacy(c: str, place: int) -> bool:
    return c.isascii() and (c.isalpha() or c in "_:" or (c.isdigit() and place > 0))


ESCAPING: dict[str, Callable[[str], str]] = {
    "allow-utf-8": str,
    "underscores": _underscores,
    "dots": _dots,
    "values": _values,
}


# -- the parts of the text

# The types that the text format lacks -> those that it has for them.
TEXT_TYPES = {"info": "gauge", "unknown": "untyped"}


def _quoted(name: str) -> str:
    """A name as a header line has it: quoted where the classic formats could not have it."""
    return name if _LEGACY_NAME.fullmatch(name) else f'"{escape_value(name)}"'


def _series(name: str, labels: Labels, escape: Callable[[str], str]) -> str:
    """`name{a="b",c="d"}`; `{"na.me",a="b"}` for a name that the classic formats could not have."""
    inner = []
    for key, value in labels:
        if key != METRIC_NAME:
            key = escape(key)
            inner.append(f'{key if _LEGACY_LABEL.fullmatch(key) else _quoted_label(key)}="{escape_value(value)}"')
    name = escape(name)
    if not _LEGACY_NAME.fullmatch(name):
        return f"{{{','.join([_quoted(name), *inner])}}}"
    return f"{name}{{{','.join(inner)}}}" if inner else name


def _quoted_label(name: str) -> str:
    return f'"{escape_value(name)}"'


def _name(family: Family, labels: Labels) -> str:
    """The series' own name, which parts of histograms have, or else its family's."""
    return next((value for key, value in labels if key == METRIC_NAME), family.name)


def text_series(name: str, labels: Labels) -> str:
    """`name{a="b",c="d"}` in text format 0.0.4; a name among the labels takes precedence."""
    name = next((value for key, value in labels if key == METRIC_NAME), name)
    return _series(name, labels, _underscores)


def _text(version: str, escaping: str) -> Format:
    escape = ESCAPING[escaping]

    def head(family: Family) -> str:
        name = _quoted(escape(family.name))
        help_text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {name} {help_text}\n# TYPE {name} {TEXT_TYPES.get(family.type, family.type)}\n"

    suffix = "" if version == "0.0.4" and escaping == "underscores" else f"; escaping={escaping}"
    return Format(
        f"text/plain; version={version}; charset=utf-8{suffix}",
        lambda family: escape(family.name),
        head,
        lambda family, labels: _series(_name(family, labels), labels, escape),
        b"",
    )


def _openmetrics(escaping: str) -> Format:
    escape = ESCAPING[escaping or "underscores"]

    def head(family: Family) -> str:
        kind, name = _openmetrics_name(family)
        unit = family.unit if family.unit and name.endswith(f"_{family.unit}") else ""
        name = _quoted(escape(name))
        lines = [f"# HELP {name} {escape_value(family.help)}\n", f"# TYPE {name} {kind}\n"]
        return "".join([*lines, f"# UNIT {name} {unit}\n"] if unit else lines)

    return Format(
        "application/openmetrics-text; version=1.0.0; charset=utf-8" + (f"; escaping={escaping}" if escaping else ""),
        lambda family: escape(_openmetrics_name(family)[1]),
        head,
        lambda family, labels: _series(_name(family, labels), _float_bounds(family, labels), escape),
        b"# EOF\n",
        True,
    )


def _openmetrics_name(family: Family) -> tuple[str, str]:
    """A family's (type, name) in OpenMetrics, where `_total` and `_info` belong to the samples only."""
    for kind, ending in (("counter", "_total"), ("info", "_info")):
        if family.type == kind:
            return (
                (kind, family.name.removesuffix(ending)) if family.name.endswith(ending) else ("unknown", family.name)
            )
    return family.type, family.name


def _float_bounds(family: Family, labels: Labels) -> Labels:
    """Labels for OpenMetrics, where bounds of buckets and quantiles are floats: `le="1.0"`."""
    bound = {"histogram": "le", "summary": "quantile"}.get(family.type)
    return tuple((key, _float(value)) if key == bound else (key, value) for key, value in labels) if bound else labels


def _float(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return text
    return text if value in (float("inf"), float("-inf")) or value != value else repr(value)


# -- which family a series is listed under

WITH_CREATED = ("counter", "histogram", "summary")

# What the samples of a type add to the family's name in OpenMetrics, where no other family may have these names.
_OPENMETRICS_ENDINGS: dict[str, tuple[str, ...]] = {
    "counter": ("_total", CREATED),
    "info": ("_info",),
    **{kind: (*endings, CREATED) for kind, endings in ENDINGS.items()},
}


def untyped(family: Family) -> Family:
    """The family without a type; so it has its full name in OpenMetrics too."""
    return Family(family.name, "unknown", family.help, family.unit)


def _reserved(form: Format, family: Family) -> list[str]:
    """The names that no other family may have beside this one."""
    name = form.name(family)
    kind = _openmetrics_name(family)[0] if form.whole else family.type
    endings = (_OPENMETRICS_ENDINGS if form.whole else ENDINGS).get(kind, ())
    return [name, *(name + ending for ending in endings)]


def headings(form: Format, families: Iterable[Family]) -> dict[str, tuple[str, Family]]:
    """For each family's name: the name that its series are listed under, and the family whose header is written there.

    A counter or an info whose names in OpenMetrics another family has keeps its full name, with type unknown. Families
    that have the same name where it is escaped share a header, if their samples may stand under one; those that cannot
    be written beside the others are left out.
    """
    found: dict[str, tuple[str, Family]] = {}
    headers: dict[str, Family] = {}
    owners: dict[str, str] = {}  # a written name -> the name that its family is listed under

    def take(key: str, family: Family) -> bool:
        name, names = form.name(family), _reserved(form, family)
        if any(owners.get(one, name) != name for one in names):
            return False
        shared = headers.get(name, family)
        if shared.type != family.type and (shared.type in ENDINGS or family.type in ENDINGS):
            return False
        if form.name(untyped(shared)) != form.name(untyped(family)):
            return False
        headers[name] = shared if shared.type == family.type else untyped(shared)
        owners.update(dict.fromkeys(names, name))
        found[key] = name, family
        return True

    ordered = sorted(families, key=lambda family: (family.type in ("counter", "info"), family.name))
    created = [one for one in ordered if form.whole and created_metric(one)]
    for family in ordered:
        if family not in created and not take(family.name, family) and family.type not in ENDINGS:
            take(family.name, untyped(family))
    for family in created:  # they belong to the metric whose time they tell
        name = form.name(family).removesuffix(CREATED)
        if name in headers and _openmetrics_name(headers[name])[0] in WITH_CREATED:
            found[family.name] = name, headers[name]
        else:
            take(family.name, family)
    return {key: (name, headers[name]) for key, (name, _) in found.items()}


# -- negotiation

TEXT = _text("0.0.4", "underscores")

# (format, escaping) -> the format, made when first asked for.
_Kind = tuple[str, str]
_made: dict[_Kind, Format] = {("0.0.4", "underscores"): TEXT}


def choose(accept: str) -> Format:
    """The format that an Accept header prefers, by its weights; text 0.0.4 if it names none of ours."""
    found: tuple[float, _Kind] | None = None
    for kind, weight in _acceptable(accept):
        if weight > 0 and (found is None or weight > found[0]):
            found = weight, kind
    return _format(found[1] if found is not None else ("0.0.4", "underscores"))


def _format(kind: _Kind) -> Format:
    if kind not in _made:
        version, escaping = kind
        _made[kind] = _openmetrics(escaping) if version == "openmetrics" else _text(version, escaping)
    return _made[kind]


def _acceptable(accept: str) -> Iterator[tuple[_Kind, float]]:
    """The formats that an Accept header names, with their weights, in its order."""
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        values = {name.strip().lower(): value.strip().strip('"') for name, _, value in map(_pair, parameters)}
        try:
            weight = float(values.get("q", "1"))
        except ValueError:
            continue
        version, escaping = values.get("version", ""), values.get("escaping", "")
        if escaping and escaping not in ESCAPING:
            escaping = ""
        media = media.lower()
        if media == "application/openmetrics-text" and version in ("", "1.0.0", "0.0.1"):
            yield ("openmetrics", escaping), weight
        elif media == "text/plain" and version == "1.0.0":
            yield ("1.0.0", escaping or "underscores"), weight
        elif media == "text/plain" and version in ("", "0.0.4"):
            yield ("0.0.4", escaping or "underscores"), weight
        elif media in ("text/*", "*/*"):
            yield ("0.0.4", "underscores"), weight


def _pair(parameter: str) -> tuple[str, str, str]:
    return parameter.partition("=")
