"""Label matchers: `name op value`, as in `{job=~"a|b"}`."""

from typing import Literal, TypeAlias

import msgspec

MatchOp: TypeAlias = Literal["=", "!=", "=~", "!~"]


class Matcher(msgspec.Struct, frozen=True):
    """One matcher. An absent label has the value "". Regexes are anchored, of RE2's syntax (`model/regex.py`)."""

    name: str
    op: MatchOp
    value: str

    def __str__(self) -> str:
        return f'{self.name}{self.op}"{self.value}"'
