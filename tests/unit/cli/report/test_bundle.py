"""Modules as one script."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.cli.report.bundle import bundle
from prom_probe.web.page.static import FOLDER


def test_modules_follow_what_they_need(tmp_path: Path) -> None:
    """What a module imports is there before it, once; comments are gone, strings that look like one are not."""
    (tmp_path / "main.js").write_text("// Starts.\nimport { a } from './a.js';\nimport { c } from './c.js';\n\na(c);\n")
    (tmp_path / "a.js").write_text(
        "import { c } from './c.js';\n/** Adds\n * one. */\nexport function a(x) {\n  return '// ' + c + x;\n}\n"
    )
    (tmp_path / "c.js").write_text("const hidden = 1;\nexport const c = hidden;\nexport class D {}\n")
    assert bundle(str(tmp_path), "main.js").splitlines() == [
        "const hidden = 1;",
        "const c = hidden;",
        "class D {}",
        "function a(x) {",
        "  return '// ' + c + x;",
        "}",
        "a(c);",
    ]


@pytest.mark.parametrize("line", ["import x from './x.js';", "export default 1;", "export { x };"])
def test_what_it_does_not_understand_is_refused(tmp_path: Path, line: str) -> None:
    """Rather than written into a report that does not start."""
    (tmp_path / "main.js").write_text(f"{line}\n")
    with pytest.raises(AssertionError, match=r"main\.js"):
        bundle(str(tmp_path), "main.js")


def test_the_page_s_own_modules_are_understood() -> None:
    """All that a report starts with, and nothing that would end the script element."""
    script = bundle(FOLDER, "report.js")
    assert "class Page " in script and "class ReportSource " in script
    assert "</script" not in script
