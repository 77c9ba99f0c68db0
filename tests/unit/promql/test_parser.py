"""PromQL's grammar, its errors with their places, and the bounds on a query's size."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.matcher import Matcher
from prom_probe.promql.ast import Binary, Call, Matrix, Negate, Number, Selector, String, Subquery, Type
from prom_probe.promql.literals import duration_ms, number, quote, unquote
from prom_probe.promql.parser import parse, parse_selector, selectors
from prom_probe.promql.result import QueryError
from prom_probe.promql.tokens import MAX_NESTING, MAX_OPERATORS
from tests.support.waiting import DEADLINE_S

NAME = "__name__"

ERRORS = [
    ("", "1:1: parse error: no expression found in input"),
    ("# nothing", "1:1: parse error: no expression found in input"),
    ("sum(x", "1:6: parse error: unclosed left parenthesis"),
    ("x[5m", "1:5: parse error: unclosed left bracket"),
    ('x{a="b"', "1:8: parse error: unexpected end of input inside braces"),
    ("x)", "1:2: parse error: unexpected right parenthesis ')'"),
    ("x\n  + )", "2:5: parse error: unexpected right parenthesis ')'"),
    ("1 +", "1:4: parse error: unexpected end of input"),
    ("x y", '1:3: parse error: unexpected identifier "y"'),
    ("x;", "1:2: parse error: unexpected character: ';'"),
    ('"abc', "1:1: parse error: unterminated quoted string"),
    (r'"a\qb"', "1:1: parse error: unknown escape sequence U+0071 'q'"),
    ("x{a=b}", '1:5: parse error: unexpected identifier "b" in label matching, expected string'),
    ("x{a}", '1:4: parse error: unexpected "}" in label matching, expected label matching operator'),
    ('x{a="b" or c="d"}', '1:9: parse error: unexpected identifier "or" in label matching, expected "," or "}"'),
    ('x{a=~"(?=b)"}', "1:3: parse error: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
    ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ('{a=~".*",b!="c"}', "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ('x{__name__="y"}', '1:1: parse error: metric name must not be set twice: "x" or "y"'),
    ("x[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"),
    ("x[0s]", "1:3: parse error: duration must be greater than 0"),
    ("x[5m5h]", '1:3: parse error: not a valid duration string: "5m5h"'),
    ("x[5q]", '1:3: parse error: bad number or duration syntax: "5q"'),
    ("(x)[5m]", "1:4: parse error: ranges only allowed for vector selectors"),
    ("x offset 1m[5m]", "1:12: parse error: no offset modifiers allowed before range"),
    ("x @ 1 [5m]", "1:7: parse error: no @ modifiers allowed before range"),
    ("x offset 1m offset 1m", "1:1: parse error: offset may not be set multiple times"),
    ("x @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
    ("x @ -Inf", "1:1: parse error: timestamp out of bounds for @ modifier: -Inf"),
    ("x[5m:1m][5m:1m]", "1:1: parse error: subquery is only allowed on instant vector, got matrix instead"),
    ("foo(x)", '1:1: parse error: unknown function with name "foo"'),
    ("rate(x)", '1:6: parse error: expected type range vector in call to function "rate", got instant vector'),
    ("rate(x[5m], 1)", '1:1: parse error: expected 1 argument(s) in call to "rate", got 2'),
    ("round(x, 1, 2)", '1:1: parse error: expected at most 2 argument(s) in call to "round", got 3'),
    ("label_join(x)", '1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 1'),
    ("rate(x[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
    ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
    ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
    ("topk(x)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
    ('topk("a", x)', "1:6: parse error: expected type scalar in aggregation parameter, got string"),
    ("sum by a (x)", '1:8: parse error: unexpected identifier "a" in grouping opts, expected "("'),
    ("1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("x + bool y", "1:3: parse error: bool modifier can only be used on comparison operators"),
    ("x and 1", '1:1: parse error: set operator "and" not allowed in binary scalar expression'),
    ("x or on(a) group_left y", '1:1: parse error: no grouping allowed for "or" operation'),
    ("x + on(a) group_left(a) y", '1:3: parse error: label "a" must not occur in ON and GROUP clause at once'),
    ("x + on(a) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
    (
        '+"a"',
        '1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "string"',
    ),
    ("rate(+y[5m])", "1:6: parse error: unary expression only allowed on"),
    ("limitk(x, y)", "1:8: parse error: expected type scalar in aggregation parameter, got instant vector"),
    ("nothing(x)", '1:1: parse error: unknown function with name "nothing"'),
    ("x[5y1hs]", '1:3: parse error: unknown unit "hs" in duration "5y1hs"'),
    ("2.5.", '1:1: parse error: bad number or duration syntax: "2.5."'),
    ("100..4", '1:1: parse error: bad number or duration syntax: "100.."'),
    ("x[5mm]", '1:3: parse error: bad number or duration syntax: "5mm"'),
    ("x[", "1:3: parse error: unexpected end of input in duration expression"),
    (
        "x[]",
        '1:3: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()',
    ),
    ("x[5m:1m:", '1:8: parse error: unexpected ":" in subquery selector, expected "]"'),
    ("x[5m / 0]", "1:6: parse error: division by zero"),
    ("x offset", "1:9: parse error: unexpected end of input in offset, expected number, duration, step(), or range()"),
    ("x @ y", '1:5: parse error: unexpected identifier "y" in @, expected timestamp'),
    ('"\\x4."', "1:1: parse error: illegal character U+002E '.' in escape sequence"),
    ('"a\\', "1:1: parse error: escape sequence not terminated"),
    ('"a\\\\', "1:1: parse error: unterminated quoted string"),
    ('x{a="\udcff"}', "1:5: parse error: invalid UTF-8 rune"),
    (r'sum by ("a\xff") (x)', r'1:9: parse error: invalid label name for grouping: "a\xff"'),
    ('x + on ("") y', '1:9: parse error: invalid label name for grouping: ""'),
    ('"é" y', '1:6: parse error: unexpected identifier "y"'),
    ("sum(x y)", '1:7: parse error: unexpected identifier "y" in aggregation'),
    ("x == on(a) bool y", "1:12: parse error: unexpected <bool>"),
    ("x by (y)", "1:3: parse error: unexpected <by>"),
    ("sum by () (x) by (a)", "1:15: parse error: unexpected <by>"),
    ("info(x, sum(y))", "1:9: parse error: expected label selectors only"),
    ("info(x, y)", "1:9: parse error: expected label selectors only, got vector selector instead"),
    ("x sum", "1:3: parse error: unexpected <aggr:sum>"),
    (
        "(x) offset 5m",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector",
    ),
    ("foo(x y", '1:7: parse error: unexpected identifier "y"'),
    ("foo(x) + rate(y)", '1:1: parse error: unknown function with name "foo"'),
    ("rate(y) + foo(x)", '1:11: parse error: unknown function with name "foo"'),
    ("rate(y) + + )", "1:13: parse error: unexpected right parenthesis ')'"),
    ("x[0]", "1:3: parse error: duration must be greater than 0"),
    ("x[Inf]", "1:3: parse error: duration out of range"),
    ("x offset NaN", "1:10: parse error: duration out of range"),
    ("x[5m:0]", "1:6: parse error: duration must be greater than 0"),
    ("x * / y", "1:5: parse error: unexpected <op:/>"),
    (
        "rate(x) + rate(y)",
        '1:6: parse error: expected type range vector in call to function "rate", got instant vector',
    ),
    ('x{"y"}', '1:1: parse error: metric name must not be set twice: "x" or'),
    ('-"a"', "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector,"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors_name_the_place(text: str, message: str) -> None:
    """A query that is not PromQL gives bad_data with line, column and what was wrong."""
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.kind == "bad_data"
    assert str(caught.value).startswith(message)


NUMBERS = [
    ("1.5e3", 1500.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("0x1F", 31.0),
    ("0755", 493.0),
    ("1_000", 1000.0),
    ("-1", -1.0),
    ("- -1", 1.0),
    ("1h30m", 5400.0),
    ("inF", math.inf),
    ("-Inf", -math.inf),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(text: str, value: float) -> None:
    """Numbers in all their spellings, durations being seconds."""
    node = parse(text)
    assert isinstance(node, Number)
    assert node.value == value


def _name(name: str) -> Matcher:
    return Matcher(NAME, "=", name)


SELECTORS = [
    ("up", [_name("up")]),
    ("a:b", [_name("a:b")]),
    ("sum", [_name("sum")]),
    ("offset", [_name("offset")]),
    ('{"a b", c="d"}', [_name("a b"), Matcher("c", "=", "d")]),
    ("x{a='b',c!=`d`,}", [Matcher("a", "=", "b"), Matcher("c", "!=", "d"), _name("x")]),
    ('x{a=~"b",c!~"d"}', [Matcher("a", "=~", "b"), Matcher("c", "!~", "d"), _name("x")]),
    ('{"a b"=~"x+"}', [Matcher("a b", "=~", "x+")]),
    ('{__name__="x"}', [_name("x")]),
    (
        'x{or = "a", inf="b", on="c"}',
        [Matcher("or", "=", "a"), Matcher("inf", "=", "b"), Matcher("on", "=", "c"), _name("x")],
    ),
    ('{a!="",b!~".+"}', [Matcher("a", "!=", ""), Matcher("b", "!~", ".+")]),
    (r'x{a=~"[[a]\\Qb+\\E"}', [Matcher("a", "=~", r"[[a]\Qb+\E"), _name("x")]),
]


@pytest.mark.parametrize(("text", "matchers"), SELECTORS)
def test_selectors(text: str, matchers: list[Matcher]) -> None:
    """Metric names, all four matchers, all three quotes, names that are not identifiers."""
    assert parse_selector(text) == matchers
    node = parse(text)
    assert isinstance(node, Selector)
    assert list(node.matchers) == matchers


@pytest.mark.parametrize("text", ["rate(x[5m])", "x[5m]", "x offset 5m", "1", "", "x y", "up)"])
def test_match_parameters_are_selectors_only(text: str) -> None:
    """`match[]` takes a plain selector and nothing else."""
    with pytest.raises(QueryError):
        parse_selector(text)


def test_modifiers_come_in_any_order() -> None:
    """Offset and @ follow a selector, range or subquery, in either order."""
    assert parse("x offset 5m @ 10.5") == parse("x @ 10.5 offset 300")
    node = parse("x[1m] @ end() offset -90s")
    assert isinstance(node, Matrix)
    assert (node.range_ms, node.selector.offset_ms, node.selector.at) == (60_000, -90_000, "end")
    node = parse("sum(x)[1h:30s] @ start()")
    assert isinstance(node, Subquery)
    assert (node.range_ms, node.step_ms, node.at, node.type) == (3_600_000, 30_000, "start", Type.MATRIX)


@pytest.mark.parametrize(
    "text",
    [
        "a1 + -(b1 ^ - -2) * +sum by (x) (rate(c1[5m:1m]))",
        'topk(scalar(a1), -b1{x="y"}) without (z) > bool on (x) group_left (y) -c1',
        "# (\n(a1) and (((b1)))\n or c1",
        'label_replace(a1 offset -5m, "x", "y", "z", "w") or -b1 @ -3 or -1 - c1',
    ],
)
def test_nodes_know_their_places(text: str) -> None:
    """A node starts where its operand does, whatever signs, parentheses and lists are around it."""
    found = selectors(parse(text))
    assert [text[node.start : node.start + 2] for node in found] == ["a1", "b1", "c1"]


def _shape(node: object) -> str:
    match node:
        case Binary():
            return f"({_shape(node.lhs)} {node.op} {_shape(node.rhs)})"
        case Negate():
            return f"-{_shape(node.expr)}"
        case Number():
            return f"{node.value:g}"
        case Selector():
            return node.matchers[-1].value
        case Call():
            return f"{node.name}({', '.join(_shape(one) for one in node.args)})"
        case _:
            raise AssertionError(node)


PRECEDENCE = [
    ("a + b * c", "(a + (b * c))"),
    ("a - b - c", "((a - b) - c)"),
    ("a ^ b ^ c", "(a ^ (b ^ c))"),
    ("-a ^ b", "-(a ^ b)"),
    ("-a * b", "(-a * b)"),
    ("2 ^ -1 * 3", "((2 ^ -1) * 3)"),
    ("a or b and c unless d", "(a or ((b and c) unless d))"),
    ("a == b + c > d", "((a == (b + c)) > d)"),
    ("(a + b) * c", "((a + b) * c)"),
    ("a AND b Atan2 c", "(a and (b atan2 c))"),
    ("a + b offset 5m", "(a + b)"),
    ("abs(-a)", "abs(-a)"),
]


@pytest.mark.parametrize(("text", "shape"), PRECEDENCE)
def test_operators_bind_as_upstream(text: str, shape: str) -> None:
    """Precedence and associativity."""
    assert _shape(parse(text)) == shape


def test_invariance() -> None:
    """Expressions that do not depend on the step are marked so, functions of time excepted."""
    assert parse("sum(x @ 10) + 1").invariant
    assert parse("rate(x[5m] @ start())").invariant
    assert not parse("x @ 10 + y").invariant
    assert not parse("time()").invariant
    assert not parse("predict_linear(x[5m] @ 10, 60)").invariant


STRINGS = [
    (r'"a\tb"', "a\tb"),
    (r"'\''", "'"),
    (r"`raw\n`", r"raw\n"),
    (r'"\x41\102\u00e9\U0001F600"', "ABé\U0001f600"),
    (r'"a\xc5z"', "a\udcc5z"),
    ('"é"', "é"),
]


@pytest.mark.parametrize(("text", "value"), STRINGS)
def test_strings(text: str, value: str) -> None:
    """Escapes as in Go, including bytes that are not UTF-8."""
    node = parse(text)
    assert isinstance(node, String)
    assert node.value == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoting_is_undone_by_unquoting(value: str) -> None:
    """What `quote` writes, `unquote` reads."""
    assert unquote(quote(value)) == value


def test_durations_and_numbers() -> None:
    """Units from the longest to the shortest, each at most once."""
    assert duration_ms("1y2w3d4h5m6s7ms") == ((365 + 14 + 3) * 86400 + 4 * 3600 + 5 * 60 + 6) * 1000 + 7
    assert number("1e3") == 1000
    for bad in ("1s1m", "1m1m", "9999999999y"):
        with pytest.raises(ValueError, match="duration"):
            duration_ms(bad)


# -- bounds

TOO_BIG = [
    ("(" * 7000 + "1" + ")" * 7000, "expression nests deeper than 100 levels"),
    ("1+1" * 5000, "more than 200 operators"),
    ("-" * 5000 + "1", "more than 200 operators"),
    ("x or " * 2000 + "x", "more than 200 operators"),
    ("(" * 10_000 + "1" + ")" * 10_000, "longer than the 16384 bytes"),
    ("1+" * 10_000 + "1", "longer than the 16384 bytes"),
    ("sum(" * 3000 + ")" * 3000, "nests deeper"),
    ("x" + "[1m:1m]" * 2000, "more than 200 operators"),
]


@pytest.mark.parametrize(("text", "message"), TOO_BIG)
def test_big_queries_are_refused(text: str, message: str) -> None:
    """Nesting, chains and length are bounded, with a clear error."""
    with pytest.raises(QueryError, match=message):
        parse(text)


def test_signs_in_strings_comments_and_matchers_do_not_count() -> None:
    """Only operators and brackets of the expression itself are counted."""
    parse('x{a="' + "(" * 300 + "+" * 300 + '"} # ' + "(" * 300)
    parse(" or ".join(['x{a!="b",c!="d",e!="f"}'] * 60))


def test_the_largest_queries_permitted_work_in_a_small_thread() -> None:
    """Queries within the bounds need no more recursion than Python and a small stack allow."""
    depth = MAX_NESTING - 1
    texts = [
        "(" * depth + "1" + ")" * depth + "+1" * MAX_OPERATORS,
        "^".join(["1"] * MAX_OPERATORS),
        "abs(" * depth + "x" + ")" * depth,
        "-" * MAX_OPERATORS + "x",
        "(x+" * depth + "x" + ")" * depth,
    ]
    failures: list[BaseException] = []

    def work() -> None:
        for text in texts:
            try:
                parse(text)
            except BaseException as error:
                failures.append(error)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert not failures


@settings(max_examples=300)
@given(st.text(st.sampled_from("xy01(){}[]+-*/^=!~<>,\"'`\\@:#. \nsumbyrateoffset5m"), max_size=40))
def test_any_text_gives_a_node_or_a_clear_error(text: str) -> None:
    """Nothing but QueryError comes out of the parser."""
    try:
        parse(text)
    except QueryError as error:
        assert error.kind == "bad_data"
