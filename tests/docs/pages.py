"""Reads a page of the documentation: its fenced blocks, the commands in them, its headings, links and code spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.paths import ROOT

NAMES = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "deploy/helm/prom-probe/README.md",
    "grafana/README.md",
)
PAGES: tuple[str, ...] = (*NAMES, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")))

_FENCE = re.compile(r"^( *)```(.*)$")
_FILE = re.compile(r"^# ([\w.-]+\.(?:ya?ml|py|json))(?:$|[\n:,. ])")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*?src=\"([^\"]+)\"")
_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
# What makes a command of a line, whatever the block is called.
_COMMAND = re.compile(r"^\$ |^(?:sudo |python3? -m |prom-probe |make |curl |kubectl |helm |docker |pip |systemctl )")


class Block(NamedTuple):
    """A fenced block: its language, its lines, the line of the page on which it begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is the content of: named by a comment in its first line."""
        match = _FILE.match(self.text)
        return match[1] if match and self.language in ("yaml", "python", "json") else None


class Command(NamedTuple):
    """A line for the shell, and what the page shows that it prints (None where it shows nothing)."""

    text: str
    shown: str | None
    line: int


class Page:
    """A page by its text; `path` is where it lies, from the root of the checkout."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.blocks: list[Block] = []
        prose: list[str] = []
        opened: tuple[int, str, int] | None = None
        lines: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            fence = _FENCE.match(line)
            if opened is None:
                if fence:
                    opened, lines = (len(fence[1]), fence[2].strip(), number), []
                else:
                    prose.append(line)
            elif fence and not fence[2]:
                indent, language, first = opened
                self.blocks.append(Block(language, "\n".join(one[indent:] for one in lines), first))
                opened = None
            else:
                lines.append(line)
        if opened is not None:
            raise ValueError(f"{path}:{opened[2]}: the block is not closed")
        self.prose = "\n".join(prose)
        self.text = text

    @property
    def anchors(self) -> set[str]:
        """What a link can point at within the page, as GitHub names headings."""
        found = (_HEADING.match(line) for line in self.prose.splitlines())
        return {_slug(match[1]) for match in found if match}

    @property
    def links(self) -> list[str]:
        return [match[1] or match[2] for match in _LINK.finditer(_SPAN.sub("", self.prose))]

    @property
    def spans(self) -> list[str]:
        """Code within the prose, line breaks as spaces."""
        return [re.sub(r"\s+", " ", match[2]).strip() for match in _SPAN.finditer(self.prose)]

    @property
    def untagged(self) -> list[str]:
        """Blocks without a language, or with commands under another name than sh and console."""
        return [
            f"{self.path}:{block.line}: ```{block.language}"
            for block in self.blocks
            if not block.language
            or (block.language not in ("sh", "console") and any(map(_COMMAND.match, block.text.splitlines())))
        ]


def read(path: str) -> Page:
    """The page at `path` of this checkout."""
    return Page(path, (ROOT / path).read_text())


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block; lines that end with a backslash or a pipe go on with the next."""
    if block.language == "sh":
        for number, line in _joined(block.text.splitlines(), block.line + 1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield Command(line.strip(), None, number)
    elif block.language == "console":
        found: list[tuple[str, list[str], int]] = []
        for number, line in _joined(block.text.splitlines(), block.line + 1, prompt="$ "):
            if line.startswith("$ "):
                found.append((line[2:], [], number))
            elif not found:
                raise ValueError(f"line {number}: output without a command before it")
            else:
                found[-1][1].append(line)
        for text, shown, number in found:
            yield Command(text, "\n".join(shown), number)


def _joined(lines: list[str], first: int, prompt: str = "") -> Iterator[tuple[int, str]]:
    whole = ""
    for number, line in enumerate(lines, first):
        whole += line
        is_command = whole.startswith(prompt)
        if is_command and whole.endswith("\\"):
            whole = whole[:-1]
        elif is_command and whole.endswith("|"):
            whole += " "
        else:
            yield number, whole
            whole = ""
    if whole:
        yield first + len(lines) - 1, whole


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


_WILD = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ][\d:.]+Z?"  # a time
    r"|(?<![\w.])(?:\d+(?:\.\d+)?(?:y|w|d|h|ms|m|s))+(?!\w)"  # a duration
    r"|(?<![A-Za-z_])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"  # a number
    r"| +"
    r"|…"
)


def pattern(shown: str) -> re.Pattern[str]:
    """What output has to look like: numbers, durations, times and the width of gaps may differ, … is anything.

    A line that is nothing but … stands for any lines, or none.
    """
    parts = []
    for line in shown.rstrip().split("\n"):
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*")
        else:
            parts.append(_line_pattern(line.rstrip()) + r" *\n")
    return re.compile("".join(parts))


def _line_pattern(line: str) -> str:
    made, at = "", 0
    for match in _WILD.finditer(line):
        made += re.escape(line[at : match.start()])
        text = match[0]
        if text == "…":
            made += ".*"
        elif text.isspace():
            made += " +"
        elif "T" in text or ":" in text:
            made += r"\d{4}-\d{2}-\d{2}[T ][\d:.]+Z?"
        elif text[-1].isalpha():
            made += r"(?:\d+(?:\.\d+)?(?:y|w|d|h|ms|m|s))+"
        else:
            made += r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
        at = match.end()
    return made + re.escape(line[at:])
