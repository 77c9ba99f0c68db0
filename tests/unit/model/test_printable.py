"""What a terminal would act on does not reach it."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.model.printable import printable, printable_json
from tests.support.paths import ROOT

HOSTILE = (
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\u202eb",
    "\u2066x\u2069",
    "a\nb",
    "a\rb",
    "\u200b",
    "\u2028",
    "\x7f",
    "\udce9",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text(text: str) -> None:
    """Only printable characters are left, and the escapes say which it was."""
    shown = printable(f"x{text}y")
    assert shown.isprintable() and shown.startswith("x") and shown.endswith("y")
    assert shown.encode().decode("unicode_escape").encode("utf-8", "surrogatepass")[1:-1] == text.encode(
        "utf-8", "surrogatepass"
    )


@given(st.text())
def test_json_stays_the_same(text: str) -> None:
    """Parsed, it gives the same text."""
    shown = printable_json(json.dumps({"a": text}, ensure_ascii=False, indent=1))
    assert json.loads(shown) == {"a": text}
    assert shown.replace("\n", "").isprintable()


def test_ordinary_text() -> None:
    """Letters of any script stay."""
    assert printable("größe 大きさ 🙂 a\\b") == "größe 大きさ 🙂 a\\b"


# Functions that escape, or whose text is all our own.
_SAFE = {
    *("printable", "printable_json", "render_json", "render_table", "render_text", "render_answer", "describe_rows"),
    *("render_csv", "render_facts", "render_runs", "_drawn", "source", "page"),
}


def test_what_is_printed_is_escaped() -> None:
    """Every echo and print takes a constant or the result of a function that escapes; or the version."""
    for path in sorted((ROOT / "prom_probe").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "print"):
                given = node.args[0]
                for part in [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]:
                    assert _is_safe(part), f"{path}:{node.lineno}: {ast.unparse(node)}"


def _is_safe(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in _SAFE
    if isinstance(node, ast.JoinedStr):
        inner = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return all(_is_safe(value) or ast.unparse(value) == "__version__" for value in inner)
    return isinstance(node, ast.Constant)
