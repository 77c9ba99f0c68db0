"""Anchored regular expressions in RE2's syntax, matched under a deadline with the GIL released."""

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import regex

_MAX_REPEAT = 1000  # RE2's limit; nested repetitions multiply
_MAX_DEPTH = 100
# Atoms that counted repetitions may add when expanded: each takes 1 µs to compile, and some 800,000 crash `regex`.
_MAX_EXPANDED = 10_000
_MAX_RUNE = 0x10FFFF
_COUNTED = re.compile(r"\{(0|[1-9][0-9]{0,8})(?:(,)(0|[1-9][0-9]{0,8})?)?\}")
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])")
_NAMED = re.compile(r"\(\?P?<(\w+)>", re.ASCII)
_POSIX = re.compile(r"\[:(\^?)([a-z]+):\]")
_UNICODE_CLASS = re.compile(r"\\([pP])(?:([A-Za-z])|\{(\^?)([A-Za-z_]+)\})")
_HEX = re.compile(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_OCTAL = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_TEMPLATE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_CONTROL = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}

_Ranges = tuple[tuple[int, int], ...]


def _chars(*spans: str) -> _Ranges:
    return tuple((ord(span[0]), ord(span[-1])) for span in spans)


# RE2's Perl and POSIX classes are ASCII.
_PERL: dict[str, _Ranges] = {"d": _chars("09"), "w": _chars("09", "AZ", "__", "az"), "s": _chars("\t\n", "\f\r", " ")}
_POSIX_CLASSES: dict[str, _Ranges] = {
    "alnum": _chars("09", "AZ", "az"),
    "alpha": _chars("AZ", "az"),
    "ascii": _chars("\x00\x7f"),
    "blank": _chars("\t", " "),
    "cntrl": _chars("\x00\x1f", "\x7f"),
    "digit": _chars("09"),
    "graph": _chars("!~"),
    "lower": _chars("az"),
    "print": _chars(" ~"),
    "punct": _chars("!/", ":@", "[`", "{~"),
    "space": _chars("\t\r", " "),
    "upper": _chars("AZ"),
    "word": _chars("09", "AZ", "__", "az"),
    "xdigit": _chars("09", "AF", "af"),
}
_WORD = "[0-9A-Za-z_]"
_BOUNDARY = f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))"
_NO_BOUNDARY = f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))"
_ASSERTIONS = {"A": r"(?:\A)", "z": r"(?:\Z)", "b": _BOUNDARY, "B": _NO_BOUNDARY}


class RegexError(ValueError):
    """A pattern that RE2 does not accept; the text is Go's."""


class RegexTimeout(Exception):
    """The deadline passed before a match was decided."""


class AnchoredRegex:
    """A pattern that must match the whole value. Immutable; any thread may use it.

    `literals`: the values that match, where the pattern is a plain alternation of literals. `matches_all`: it is `.*`.
    `prefix`: what every matching value starts with. The engine (PyPI's `regex`) is imported by the first pattern that
    needs it.
    """

    def __init__(self, pattern: str) -> None:
        """Raises RegexError where RE2 would refuse `pattern`."""
        self.pattern = pattern
        self._translation = _Translator(pattern).run()
        self._compiled: regex.Pattern[str] | None = None
        self.literals = _maybe_literals(pattern)
        self.matches_all = pattern == ".*"
        self.prefix = self._translation.prefix
        self._tail = pattern[len(self.prefix) :] if pattern.startswith(self.prefix) else ""
        if self._translation.unicode_class:
            self._engine()  # only the engine knows the names

    def matches(self, value: str, deadline: float | None = None) -> bool:
        """Whether `value` as a whole matches; raises RegexTimeout at `deadline` (time.monotonic() seconds)."""
        if self.literals is not None:
            return value in self.literals
        if not value.startswith(self.prefix):
            return False
        if self._tail == ".*":
            return True
        if self._tail == ".+":
            return len(value) > len(self.prefix)
        return self.fullmatch(value, deadline) is not None

    def fullmatch(self, value: str, deadline: float | None = None) -> "regex.Match[str] | None":
        """The match of the whole `value`; raises RegexTimeout at `deadline`."""
        timeout_s = None
        if deadline is not None:
            timeout_s = deadline - time.monotonic()
            if timeout_s <= 0:
                raise RegexTimeout(f"regular expression {self.pattern!r}: no time left")
        try:
            return self._engine().fullmatch(value, timeout=timeout_s, concurrent=True)
        except TimeoutError:
            raise RegexTimeout(f"regular expression {self.pattern!r} took too long") from None

    def expand(self, template: str, match: "regex.Match[str]") -> str:
        """`template` with Go's `$1`, `$name`, `${name}` and `$$` replaced; an unknown group is empty."""

        def one(found: re.Match[str]) -> str:
            if found[1]:
                return "$"
            name: str = found[2] or found[3]
            number = int(name) if name.isdecimal() else self._translation.names.get(name, -1)
            return (match[number] or "") if 0 <= number <= self._translation.groups else ""

        return _TEMPLATE.sub(one, template)

    def _engine(self) -> "regex.Pattern[str]":
        if self._compiled is None:
            import regex

            try:
                self._compiled = regex.compile(self._translation.text, regex.V0 | regex.DOTALL, cache_pattern=False)
            except (regex.error, RecursionError, OverflowError) as error:
                raise RegexError(f"error parsing regexp: {error}: `{self.pattern}`") from None
        return self._compiled


@lru_cache(maxsize=256)
def compile_anchored(pattern: str) -> AnchoredRegex:
    """The regex of `pattern`, cached. Raises RegexError with Go's text."""
    return AnchoredRegex(pattern)


class _Translation(NamedTuple):
    text: str  # for PyPI's regex with V0 | DOTALL
    groups: int
    names: dict[str, int]
    prefix: str
    unicode_class: bool


class _Translator:
    """Translates RE2's syntax to that of PyPI's `regex`, atom by atom; refuses what RE2 refuses."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.out: list[str] = []
        self.flags = frozenset("s")  # Prometheus compiles with (?s)
        # Flags, repetition and atoms outside the open groups.
        self.stack: list[tuple[frozenset[str], int, int]] = []
        self.groups = 0
        self.names: dict[str, int] = {}
        self.unicode_class = False
        self.atom = False  # whether a repetition has something to apply to
        self.repeated = ""  # the repetition operator just read
        self.size = 1  # how often the last atom repeats, nested repetitions multiplied
        self.inner = 1  # the largest such size in the open group
        self.atoms = 0  # of the open group, repetitions written out
        self.last = 0  # of the last atom
        self.expanded = 0  # the atoms that all repetitions add
        self.prefix = ""
        self.prefix_open = True
        self.prefix_last = ""  # the literal that a repetition would take back

    def run(self) -> _Translation:
        pattern = self.pattern
        while self.at < len(pattern):
            char = pattern[self.at]
            counted = _COUNTED.match(pattern, self.at) if char == "{" else None
            if char in "*+?" or counted:
                self._repeat(counted)
                continue
            self.repeated = ""
            if char == "(":
                self._open()
            elif char == ")":
                self._close()
            elif char == "|":
                self.at += 1
                self.out.append("|")
                self.atom = False
                if not self.stack:
                    self.prefix = ""
                self.prefix_open = False
            elif char == "\\":
                self._escape()
            else:
                self._plain(char)
        if self.stack:
            raise self._error("missing closing )", pattern)
        return _Translation("".join(self.out), self.groups, self.names, self.prefix, self.unicode_class)

    def _plain(self, char: str) -> None:
        multiline = "m" in self.flags
        if char == "[":
            self._emit(self._class())
        elif char == ".":
            self._emit("." if "s" in self.flags else r"[^\n]")
        elif char == "^":
            self._emit(r"(?:(?<=\n)|\A)" if multiline else r"(?:\A)")
        elif char == "$":
            self._emit(r"(?:(?=\n)|\Z)" if multiline else r"(?:\Z)")
        else:
            self._literal(char)
            return
        if char != "[":
            self.at += 1

    def _error(self, code: str, fragment: str) -> RegexError:
        return RegexError(f"error parsing regexp: {code}: `{fragment}`")

    def _emit(self, text: str, literal: str = "") -> None:
        """Append an atom; `literal` is its character, if it is a single one."""
        self.out.append(f"(?i:{text})" if "i" in self.flags else text)
        self.atom, self.size = True, 1
        self.last = 1
        self.atoms += 1
        if literal and self.prefix_open and not self.stack and "i" not in self.flags:
            self.prefix += literal
            self.prefix_last = literal
        else:
            self.prefix_open, self.prefix_last = False, ""

    def _literal(self, char: str) -> None:
        self.at += 1
        self._emit(_quoted(ord(char)), char)

    def _repeat(self, counted: re.Match[str] | None) -> None:
        operator = counted[0] if counted else self.pattern[self.at]
        if not self.atom:
            raise self._error("missing argument to repetition operator", operator)
        if self.repeated:
            raise self._error("invalid nested repetition operator", self.repeated + operator)
        self.at += len(operator)
        if counted:
            least = int(counted[1])
            most = int(counted[3]) if counted[3] else least
            self.size *= max(most, 1)
            if most < least or self.size > _MAX_REPEAT:
                raise self._error("invalid repeat count", operator)
            added = self.last * (max(most, 1) - 1)
            self.atoms, self.last, self.expanded = self.atoms + added, self.last + added, self.expanded + added
            if self.expanded > _MAX_EXPANDED:
                raise self._error("expression too large", self.pattern)
        self.inner = max(self.inner, self.size)
        lazy = self.pattern.startswith("?", self.at)
        self.at += lazy
        self.repeated = operator + "?" * lazy
        self.out.append(operator + "?" * (lazy != ("U" in self.flags)))
        if self.prefix_last:
            self.prefix = self.prefix[:-1]
        self.prefix_open, self.prefix_last = False, ""

    def _open(self) -> None:
        pattern = self.pattern
        if len(self.stack) >= _MAX_DEPTH:
            raise self._error("expression nests too deeply", pattern)
        named = _NAMED.match(pattern, self.at)
        flags = _FLAGS.match(pattern, self.at)
        outside = self.flags
        if named:
            if named[1] in self.names:
                raise self._error("duplicate capture group name", named[0])
            self.groups += 1
            self.names[named[1]] = self.groups
            self.at = named.end()
        elif flags:
            self.flags = (self.flags | frozenset(flags[1])) - frozenset(flags[2] or "")
            self.at = flags.end()
            if flags[3] == ")":
                if flags[1] == "" and flags[2] is None:
                    raise self._error("missing argument to repetition operator", "?")
                return
        elif pattern.startswith("(?", self.at):
            raise self._error("invalid or unsupported Perl syntax", pattern[self.at : self.at + 3])
        else:
            self.groups += 1
            self.at += 1
        self.out.append("(?:" if flags else "(")
        self.stack.append((outside, self.inner, self.atoms))
        self.atoms, self.inner, self.atom, self.prefix_open, self.prefix_last = 0, 1, False, False, ""

    def _close(self) -> None:
        if not self.stack:
            raise self._error("unexpected )", self.pattern)
        self.at += 1
        self.out.append(")")
        self.size = self.inner
        self.flags, outside, before = self.stack.pop()
        self.last = self.atoms
        self.atoms += before
        self.inner = max(self.inner, outside)
        self.atom = True

    def _escape(self) -> None:
        pattern = self.pattern
        following = pattern[self.at + 1 : self.at + 2]
        if following == "Q":
            end = pattern.find("\\E", self.at)
            literal = pattern[self.at + 2 : end if end >= 0 else len(pattern)]
            for char in literal:
                self._emit(_quoted(ord(char)), char)
            self.at = end + 2 if end >= 0 else len(pattern)
        elif following and following in _ASSERTIONS:
            self.at += 2
            self._emit(_ASSERTIONS[following])
        elif (ranges := self._class_escape()) is not None:
            self._emit(f"[{ranges}]")
        else:
            code = self._character()
            self._emit(_quoted(code), chr(code))

    def _class_escape(self) -> str | None:
        r"""`\d`, `\pL` and the like, as the inside of a class; None if another escape is next."""
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter and letter.lower() in _PERL:
            self.at += 2
            return _ranges(_PERL[letter.lower()], negated=letter.isupper())
        found = _UNICODE_CLASS.match(self.pattern, self.at)
        if found:
            self.at = found.end()
            name = found[2] or found[4]
            if name == "Any":
                return _ranges(((0, _MAX_RUNE),), negated=(found[1] == "P") != bool(found[3]))
            self.unicode_class = True
            return rf"\{'P' if (found[1] == 'P') != bool(found[3]) else 'p'}{{{name}}}"
        if letter in ("p", "P"):
            raise self._error("invalid character class range", self.pattern[self.at :])
        return None

    def _character(self) -> int:
        """The code point of the next character or escape."""
        pattern = self.pattern
        if pattern[self.at] != "\\":
            self.at += 1
            return ord(pattern[self.at - 1])
        letter = pattern[self.at + 1 : self.at + 2]
        if not letter:
            raise self._error("trailing backslash at end of expression", "")
        if found := _HEX.match(pattern, self.at):
            code = int(found[1] or found[2], 16)
        elif found := _OCTAL.match(pattern, self.at):
            code = int(found[1], 8)
        elif letter in _CONTROL or (letter.isascii() and not letter.isalnum()):
            self.at += 2
            return _CONTROL.get(letter, ord(letter))
        else:
            raise self._error("invalid escape sequence", pattern[self.at : self.at + 2])
        if code > _MAX_RUNE:
            raise self._error("invalid escape sequence", found[0])
        self.at = found.end()
        return code

    def _class(self) -> str:
        """The next bracket expression."""
        start = self.at
        self.at += 1
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        items: list[str] = []
        first = True
        while first or not self.pattern.startswith("]", self.at):
            if self.at >= len(self.pattern):
                raise self._error("missing closing ]", self.pattern[start:])
            items.append(self._class_item())
            first = False
        self.at += 1
        inside = "".join(items)
        if not inside:  # an empty set: only a negated "any" gives one
            return r"[\x00-\U0010ffff]" if negated else r"[^\x00-\U0010ffff]"
        return f"[{'^' * negated}{inside}]"

    def _class_item(self) -> str:
        posix = _POSIX.match(self.pattern, self.at)
        if posix:
            if posix[2] not in _POSIX_CLASSES:
                raise self._error("invalid character class range", posix[0])
            self.at = posix.end()
            return _ranges(_POSIX_CLASSES[posix[2]], negated=bool(posix[1]))
        if self.pattern[self.at] == "\\" and (escaped := self._class_escape()) is not None:
            return escaped
        start = self.at
        low = high = self._character()
        if self.pattern.startswith("-", self.at) and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
            self.at += 1
            high = self._character()
            if high < low:
                raise self._error("invalid character class range", self.pattern[start : self.at])
        return _ranges(((low, high),))


def _quoted(code: int) -> str:
    """A code point, escaped for a pattern or class of `regex`."""
    char = chr(code)
    if char.isascii():
        return char if char.isalnum() or char == "_" else f"\\x{code:02x}"
    return f"\\U{code:08x}"


def _ranges(ranges: _Ranges, negated: bool = False) -> str:
    """Sorted ranges, or their complement, as the inside of a class."""
    if negated:
        edges = [-1, *(edge for pair in ranges for edge in pair), _MAX_RUNE + 1]
        ranges = tuple((edges[i] + 1, edges[i + 1] - 1) for i in range(0, len(edges), 2))
        ranges = tuple(pair for pair in ranges if pair[0] <= pair[1])
    return "".join(_quoted(low) if low == high else f"{_quoted(low)}-{_quoted(high)}" for low, high in ranges)


def _maybe_literals(pattern: str) -> frozenset[str] | None:
    r"""The alternatives of `a|b|c` or `(a|b|c)`, escaped punctuation (`a\.b`) allowed; None for other patterns."""
    if pattern.startswith("(") and pattern.endswith(")") and not pattern.endswith("\\)"):
        pattern = pattern[1:-1]
        if pattern.startswith("?:"):
            pattern = pattern[2:]
    found = []
    word: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern) and pattern[at + 1].isascii() and not pattern[at + 1].isalnum():
            at += 1
            word.append(pattern[at])
        elif char == "|":
            found.append("".join(word))
            word = []
        elif char in r"\.+*?()[]{}^$":
            return None
        else:
            word.append(char)
        at += 1
    return frozenset((*found, "".join(word)))
