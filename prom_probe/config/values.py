"""Parsers of simple settings: numbers, switches, regular expressions, choices."""

import re
from collections.abc import Callable

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parse_count(text: str) -> int:
    """A whole number above zero."""
    if not re.fullmatch(r"[0-9]{1,15}", text) or not int(text):
        raise ValueError(f"not a whole number above zero: {text!r}")
    return int(text)


def parse_whole(text: str) -> int:
    """A whole number."""
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


def parse_switch(text: str) -> bool:
    """true or false, in the usual spellings."""
    if text.lower() not in _SWITCH:
        raise ValueError(f"not true or false: {text!r}")
    return _SWITCH[text.lower()]


def parse_regex(text: str) -> str:
    """A regular expression that has to match the whole text."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {text!r}: {error}") from None
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"not one of {', '.join(choices)}: {text!r}")
        return text

    return parse
