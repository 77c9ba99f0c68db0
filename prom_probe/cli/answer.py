"""Prints the query API's answer as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from prom_probe.cli.error import ClientError
from prom_probe.model.printable import printable


def render_answer(answer: bytes) -> str:
    """The answer as text: a line for each series, for ranges its points below. ClientError if it is not an answer."""
    try:
        decoded = msgspec.json.decode(answer)
        data = decoded["data"]
        lines = _RENDERERS[data["resultType"]](data["result"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise ClientError("the answer is not Prometheus's JSON") from None
    notes = [printable(f"{kind[:-1]}: {text}") for kind in ("warnings", "infos") for text in decoded.get(kind) or ()]
    return "\n".join([*(lines or ["(no data)"]), *notes])


def _series_name(metric: dict[str, str]) -> str:
    inner = ", ".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in sorted(metric.items()) if k != "__name__")
    name = metric.get("__name__", "")
    return printable(f"{name}{{{inner}}}" if inner or "__name__" not in metric else name)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _render_value(result: Any) -> list[str]:
    return [printable(str(result[1]))]


def _render_vector(result: Any) -> list[str]:
    rows = [(_series_name(series["metric"]), series["value"][1]) for series in result]
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _render_matrix(result: Any) -> list[str]:
    lines = []
    for series in result:
        lines.append(_series_name(series["metric"]))
        lines += [f"  {_clock(t)}  {value}" for t, value in series["values"]]
    return lines


_RENDERERS = {
    "scalar": _render_value,
    "string": _render_value,
    "vector": _render_vector,
    "matrix": _render_matrix,
}
