"""The page's modules as one script: a report is opened from a disk, where browsers load no modules."""

from __future__ import annotations

import os
import re

_IMPORT = re.compile(r"^import \{[^}]*\} from '\./([\w.]+)';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) )", re.MULTILINE)
_COMMENT = re.compile(r"^ *(?://.*|/\*\*(?s:.*?)\*/)\n", re.MULTILINE)


def bundle(folder: str, main: str) -> str:
    """A script that does what the module `main` does: the modules it imports, each after those that it needs.

    Only what our modules use is understood: named imports from beside them, exported declarations, comments in lines of
    their own, which are left out. No two modules declare the same name.
    """
    written: dict[str, str] = {}

    def add(name: str) -> None:
        if name in written:
            return
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            source = file.read()
        for imported in _IMPORT.findall(source):
            add(imported)
        body = _EXPORT.sub("", _COMMENT.sub("", _IMPORT.sub("", source)))
        if re.search(r"^(import|export)\b", body, re.MULTILINE):
            raise AssertionError(f"{name}: an import or export of a kind that a report cannot have")
        written[name] = body.strip("\n") + "\n"

    add(main)
    return "".join(written.values())
