"""Our own PromQL scripts, and that the runner of such scripts notices what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prom_probe.model.feature import ON_BY_DEFAULT, Feature
from prom_probe.model.labels import make_labels
from prom_probe.promql.engine import Engine
from prom_probe.promql.queryable import Queryable
from prom_probe.promql.result import Result
from prom_probe.tsdb.store import Store
from tests.promqltest.__main__ import main
from tests.promqltest.pinned import pinned
from tests.promqltest.runner import LIMITS, OPTIONS, fill, run_case, run_script
from tests.promqltest.script import (
    NATIVE,
    Broken,
    Clear,
    Eval,
    Expectation,
    Load,
    ScriptError,
    parse_script,
    series_line,
)
from tests.support.paths import ROOT

SCRIPTS = sorted((ROOT / "tests" / "promql").rglob("*.test"))
NAN = float("nan")


def _features(script: Path) -> frozenset[Feature]:
    """Scripts of the folder `features` have all features on, as upstream's; the others what is the default."""
    return frozenset(Feature) if script.parent.name == "features" else ON_BY_DEFAULT


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script: Path) -> None:
    """Every case of the script passes; none is skipped."""
    outcomes = list(run_script(script.read_text(), _features(script)))
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.status != "passed"] == []


def _altered(case: Eval) -> Iterator[Eval]:
    """The case with one expectation changed to a wrong one."""
    if case.expects("fail"):
        yield replace(case, notes=[])
        yield replace(case, notes=[Expectation("fail", "quite another error")])
        return
    if case.scalar is not None:
        yield replace(case, scalar=1.5 if case.scalar != case.scalar else case.scalar + 1)
    if case.string is not None:
        yield replace(case, string=case.string + "x")
    for i, (labels, points) in enumerate(case.rows):
        others = case.rows[:i], case.rows[i + 1 :]
        for j, point in enumerate(points):
            if isinstance(point, float):
                other = 12345.0 if point != point or abs(point) == float("inf") else point * 1.0001 + 1e-3
                yield replace(case, rows=[*others[0], (labels, [*points[:j], other, *points[j + 1 :]]), *others[1]])
        yield replace(case, rows=[*others[0], *others[1]])
        yield replace(case, rows=[*others[0], ((*labels, ("zz", "z")), points), *others[1]])
    if case.scalar is None and case.string is None:
        yield replace(case, rows=[*case.rows, (make_labels("not_there"), [1.0])])
    yield replace(case, notes=[Expectation("fail")])
    for note in ("warn", "info"):
        if case.expects(note):
            yield replace(case, notes=[Expectation("no_warn" if note == "warn" else "no_info")])
        elif note == "warn" or "rate(" not in case.expr:  # rate may have more to say than its case expects
            yield replace(case, notes=[*case.notes, Expectation(note)])
    if case.expects("ordered") and len(case.rows) > 1:
        yield replace(case, rows=case.rows[::-1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_wrong_expectation_fails(script: Path) -> None:
    """Whatever is changed in what a case expects, the case fails."""
    engine, store = Engine(replace(LIMITS, features=_features(script))), Store(OPTIONS)
    tried = 0
    for command in parse_script(script.read_text()):
        match command:
            case Clear():
                store = Store(OPTIONS)
            case Load():
                fill(store, command)
            case Broken():
                raise AssertionError(command)
            case Eval():
                for altered in _altered(command):
                    tried += 1
                    assert run_case(engine, store.snapshot(), altered, {}).status == "failed", altered
    assert tried > 20


LINES = [
    ("x 1 2 3", make_labels("x"), [1.0, 2.0, 3.0]),
    ('x{a="b", c="d e"} 1x2', make_labels("x", {"a": "b", "c": "d e"}), [1.0, 1.0, 1.0]),
    ("x 0+10x2 5-1x1", make_labels("x"), [0.0, 10.0, 20.0, 5.0, 4.0]),
    ("x 3+0x1", make_labels("x"), [3.0, 3.0]),
    ("x _ _x2 7", make_labels("x"), [None, None, None, 7.0]),
    ("{} -1.5e3 +Inf .5", (), [-1500.0, float("inf"), 0.5]),
    ('{"a b", c="}"} 1', make_labels("a b", {"c": "}"}), [1.0]),
    ("x{} {{schema:1 sum:2}}x1 {{count:3}}+{{count:1}}x2", make_labels("x"), [NATIVE] * 5),
]


@pytest.mark.parametrize(("line", "labels", "points"), LINES)
def test_series_lines(line: str, labels: object, points: list[object]) -> None:
    """The notation of a series' points."""
    assert series_line(line) == (labels, points)


def test_start_timestamps_are_skipped() -> None:
    """Series with start timestamps load without them, and cases that ask for them are skipped."""
    text = "load 1m\n  a 1 2\n  b{x='y'}@st -1m -1m\n  b{x='y'} 1 2\n  @st -1m-1msx2\n  c 1 2\n\n"
    (load,) = parse_script(text)
    assert isinstance(load, Load)
    assert load.started == {make_labels("b", {"x": "y"}), make_labels("c")}
    outcomes = run_script(text + "".join(f"eval instant at 1m {name}\n  {{}} 2\n\n" for name in ("-a * -1", "-b", "c")))
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [
        ("passed", ""),
        ("skipped", "start timestamps selected"),
        ("skipped", "start timestamps selected"),
    ]


BAD = [
    ("frobnicate", "line 1: unknown command 'frobnicate'"),
    ("\nload five\n  x 1", "line 2: not a load command|line 2: not a duration"),
    ("load 5m\n  x 1 two", "line 1: not a value: 'two'"),
    ("load 5m\n  x{a=b} 1", "line 1: "),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_scripts_are_refused(text: str, message: str) -> None:
    """A line that is not of the language is an error with its number."""
    with pytest.raises(ScriptError, match=message):
        list(run_script(text))


@pytest.mark.parametrize(
    "text", ["eval instantly x", "eval instant at 0 x\n  expect nothing", "eval instant at 0 x\n  1 2"]
)
def test_bad_cases_fail(text: str) -> None:
    """A case that is not of the language counts as failed, and the script goes on."""
    outcomes = list(run_script(text + "\n\neval instant at 0 1\n  1\n"))
    assert [outcome.status for outcome in outcomes] == ["failed", "passed"]
    assert outcomes[0].reason.startswith("not of the language: ")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failing cases are printed with expected and actual values; the last line counts; --json is one document."""
    script = tmp_path / "some.test"
    script.write_text(
        "load 1m\n  x 1\n  h {{count:1}}\n\neval instant at 0 x\n  x 1\n\neval instant at 0 x + 1\n  {} 3\n\n"
        "eval instant at 0 h\n  h {{count:1}}\n\neval instant at 0 h + min_of(1, 2)\n  x 1\n\n"
        'eval instant at 0 {__name__=~"x|h"}\n  x 1\n'
    )
    assert main([str(script)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{script}:8: failed: x + 1",
        "    {}: expected 3.0, got 2.0",
        "1 passed, 1 failed, 3 skipped",
    ]
    assert main(["--json", str(script)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["passed"], document["failed"], document["skipped"]) == (1, 1, 3)
    assert [case["status"] for case in document["cases"]] == ["passed", "failed", "skipped", "skipped", "skipped"]
    assert main([str(tmp_path / "missing.test")]) == 2
    assert "missing.test" in capsys.readouterr().err


class _LateRanges(Engine):
    """Its range queries are a minute late."""

    def range(self, queryable: Queryable, expr: str, start_ms: int, end_ms: int, step_ms: int, **more: Any) -> Result:
        return super().range(queryable, expr, start_ms + 60_000, end_ms + 60_000, step_ms, **more)


class _DeafToAt(Engine):
    """It does not know what @ is."""

    def instant(self, queryable: Queryable, expr: str, t_ms: int, **more: Any) -> Result:
        return super().instant(queryable, re.sub("@ [0-9.]+", "", expr), t_ms, **more)


BROKEN = [(_LateRanges, "as a range query around its time: "), (_DeafToAt, "as sum(x @ 60.000) at ")]


@pytest.mark.parametrize(("engine", "reason"), BROKEN)
def test_an_answer_that_differs_otherwise_fails(engine: type[Engine], reason: str) -> None:
    """An instant case is also asked as a range query and with @, so that one cannot be right and the other wrong."""
    load, case = parse_script("load 1m\n  x 1 2 3\n\neval instant at 1m sum(x)\n  {} 2\n")
    assert isinstance(load, Load)
    assert isinstance(case, Eval)
    store = Store(OPTIONS)
    fill(store, load)
    outcome = run_case(engine(LIMITS), store.snapshot(), case, {})
    assert outcome.status == "failed"
    assert outcome.reason.startswith(reason)


PINNED = [
    ("x", "x @ 90.000"),
    ("-(rate(x[5m] offset 1m) > y @ 3)", "-(rate(x[5m] @ 90.000 offset 1m) > y @ 3.000)"),
    (
        "topk(scalar(k), max_over_time(abs(x)[5m:1m]))",
        "topk(scalar(k @ 90.000), max_over_time(abs(x)[5m:1m] @ 90.000))",
    ),
    ("1 + hour(x)", None),
    ("info(x)", None),
]


@pytest.mark.parametrize(("expr", "found"), PINNED)
def test_expressions_are_pinned_to_a_time(expr: str, found: str | None) -> None:
    """Each selector gets an @ unless it has one; a value that depends on the time all the same cannot be pinned."""
    assert pinned(expr, 90_000) == found
