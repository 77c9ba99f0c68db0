"""RE2's syntax, anchored matching, deadlines and Go's template expansion."""

import time

import pytest

from prom_probe.model.regex import AnchoredRegex, RegexError, RegexTimeout, compile_anchored

MATCHES = [
    ("", "", True),
    ("", "a", False),
    ("a|b|c", "b", True),
    ("a|b|c", "abc", False),
    ("(a|b)", "a", True),
    (r"a\.b|c", "a.b", True),
    (r"a\.b", "axb", False),
    ("a|", "", True),
    ("foo.*", "foobar\nbaz", True),
    ("foo.*", "fo", False),
    ("foo.+", "foo", False),
    (".*", "", True),
    (".+", "", False),
    ("(?-s)a.b", "a\nb", False),
    ("a.b", "a\nb", True),
    ("ab*", "a", True),
    ("ab*|c", "c", True),
    ("ab?c", "ac", True),
    ("a{2}b", "aab", True),
    ("a{,3}", "a{,3}", True),
    ("a{2,}", "aaaa", True),
    ("(?i:PRO).*", "production", True),
    ("((?i)PRO)d", "prod", True),
    ("((?i)PRO)d", "proD", False),
    ("a(?i)b|c", "C", True),
    ("a(?i)b|c", "Ab", False),
    ("(?i)straße", "STRASSE", False),
    (r"\d+", "123", True),
    (r"\d+", "٣", False),
    (r"[\D]", "٣", True),
    (r"\w+", "aé", False),
    (r"[[:alpha:]_]+", "ab_", True),
    (r"[[:^alpha:]]", "é", True),
    (r"[^[:space:]]", " ", False),
    (r"\pL+", "aé", True),
    (r"\p{Greek}", "α", True),
    (r"\P{Greek}", "α", False),
    (r"\p{^Greek}", "a", True),
    (r"[\p{Lu}0]", "É", True),
    (r"\Qa.b|c\E+", "a.b|cc", True),
    (r"\x41\x{42}\103", "ABC", True),
    (r"[]a]", "]", True),
    (r"[a-]", "-", True),
    (r"[a&&b]+", "&a", True),
    (r"[[a]", "[", True),
    ("^abc$", "abc", True),
    (r"a\z", "a", True),
    ("a$", "a\n", False),
    ("(?m)a$\n^b", "a\nb", True),
    (r"a\b.b", "a b", True),
    (r"a\Bb", "ab", True),
    ("(?U)(a+)(a*)", "aaa", True),
    ("(?P<x>a)(?<y>b)", "ab", True),
    (r"\/", "/", True),
]


@pytest.mark.parametrize(("pattern", "value", "expected"), MATCHES)
def test_matches_as_re2_does(pattern: str, value: str, expected: bool) -> None:
    """A value matches as a whole or not at all, with `.` matching newline."""
    found = compile_anchored(pattern)
    assert found.matches(value) is expected
    assert (found.fullmatch(value) is not None) is expected


REFUSED = [
    ("a(?=b)", "invalid or unsupported Perl syntax: `(?=`"),
    ("a(?!b)", "invalid or unsupported Perl syntax: `(?!`"),
    ("(?<=a)b", "invalid or unsupported Perl syntax: `(?<`"),
    ("(?>a)", "invalid or unsupported Perl syntax: `(?>`"),
    (r"(a)\1", r"invalid escape sequence: `\1`"),
    ("(?P<a>b)(?P=a)", "invalid or unsupported Perl syntax: `(?P`"),
    ("a++", "invalid nested repetition operator: `++`"),
    ("a*+", "invalid nested repetition operator: `*+`"),
    ("a**", "invalid nested repetition operator: `**`"),
    ("*a", "missing argument to repetition operator: `*`"),
    ("a|+", "missing argument to repetition operator: `+`"),
    ("(a", "missing closing ): `(a`"),
    ("a)", "unexpected ): `a)`"),
    ("[a", "missing closing ]: `[a`"),
    ("[z-a]", "invalid character class range: `z-a`"),
    ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
    ("a{1001}", "invalid repeat count: `{1001}`"),
    ("(a{100}){100}", "invalid repeat count: `{100}`"),
    ("(a|b|c|d){1000}" * 3, "expression too large: `(a|b|c|d){1000}(a"),
    ("a{2,1}", "invalid repeat count: `{2,1}`"),
    ("a\\", "trailing backslash at end of expression"),
    (r"\Z", r"invalid escape sequence: `\Z`"),
    (r"\C", r"invalid escape sequence: `\C`"),
    (r"\p{Nonsense}", "property"),
    (r"\p", "invalid character class range"),
    ("(?P<a>b)(?P<a>c)", "duplicate capture group name"),
    ("(" * 101 + ")" * 101, "nests too deeply"),
]


@pytest.mark.parametrize(("pattern", "message"), REFUSED)
def test_refuses_what_re2_refuses(pattern: str, message: str) -> None:
    """A pattern outside RE2's syntax gives an error that quotes the place."""
    with pytest.raises(RegexError) as caught:
        compile_anchored(pattern)
    assert message in str(caught.value)


PARTS = [
    ("a|b", frozenset({"a", "b"}), ""),
    ("abc", frozenset({"abc"}), "abc"),
    ("(?:x|y)", frozenset({"x", "y"}), ""),
    ("abc.*", None, "abc"),
    ("abc*", None, "ab"),
    ("abc{2}", None, "ab"),
    ("abc|abd.*", None, ""),
    ("ab(c|d)", None, "ab"),
    ("(a)|b", None, ""),
    ("(?i)abc", None, ""),
    ("a(?i)bc", None, "a"),
    (r"a\.b.+", None, "a.b"),
]


@pytest.mark.parametrize(("pattern", "literals", "prefix"), PARTS)
def test_knows_literals_and_prefix(pattern: str, literals: frozenset[str] | None, prefix: str) -> None:
    """A plain alternation is a set; every other pattern has the prefix that its matches share."""
    found = AnchoredRegex(pattern)
    assert (found.literals, found.prefix) == (literals, prefix)


def test_backtracking_stops_at_the_deadline() -> None:
    """A pattern that backtracks exponentially raises at its deadline instead of running on."""
    with pytest.raises(RegexTimeout):
        compile_anchored("((a|aa)+)+").matches("a" * 60 + "b", time.monotonic() + 0.05)
    with pytest.raises(RegexTimeout):
        compile_anchored("x[ab]*y").matches("xy", time.monotonic() - 1)


EXPANSIONS = [
    ("(.*)-(?P<to>.*)", "a-b", "$2:$1", "b:a"),
    ("(.*)-(?P<to>.*)", "a-b", "${1}x$to", "axb"),
    ("(.*)-(?P<to>.*)", "a-b", "$1x", ""),
    ("(.*)-(?P<to>.*)", "a-b", "$$1 $", "$1 $"),
    ("(.*)-(?P<to>.*)", "a-b", "$9$0", "a-b"),
    ("(a)|(b)", "a", "[$2]", "[]"),
    ("abc", "abc", "x", "x"),
]


@pytest.mark.parametrize(("pattern", "value", "template", "expected"), EXPANSIONS)
def test_expands_templates_as_go_does(pattern: str, value: str, template: str, expected: str) -> None:
    """Groups by number and name are filled in; unknown ones are empty."""
    found = compile_anchored(pattern)
    match = found.fullmatch(value)
    assert match is not None
    assert found.expand(template, match) == expected
