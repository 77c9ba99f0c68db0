"""Text from strangers for a terminal: what it would act on, reorder or hide is escaped."""

from __future__ import annotations

_CUT = "..."


def printable(text: str) -> str:
    r"""`text` on one line: control characters, bidi marks, invisible characters and line ends as `\xNN`, `\uNNNN`."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_json(text: str) -> str:
    r"""JSON with the same characters as `\uNNNN`, which is the same JSON. Its own line ends stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char == "\n" or char.isprintable() else _json_escaped(char) for char in text)


def shorten(text: str, most: int) -> str:
    """`text`, or its beginning and its end: the program is at the one, what distinguishes it often at the other."""
    if len(text) <= most:
        return text
    kept = most - len(_CUT)
    return text[: kept - kept // 2] + _CUT + text[len(text) - kept // 2 :]


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _json_escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
