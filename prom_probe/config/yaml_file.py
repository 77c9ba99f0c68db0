"""Reads the YAML file: settings by key, each with its place."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

_MAX_DEPTH = 10  # of nested mappings
_MOST_NODES = 100_000  # of a section
_NULL = "tag:yaml.org,2002:null"


class GivenSetting(NamedTuple):
    """A setting as it was written, and the place to name in an error.

    A section's value is each of its items as JSON; `lines` are those where the items begin.
    """

    value: str | list[str]
    place: str
    lines: tuple[int, ...] = ()


def read_yaml_file(path: str, sections: Collection[str]) -> tuple[dict[str, GivenSetting], list[str]]:
    """The YAML file's settings by key, nested mappings joined by dots, and its faults.

    The keys `sections` have lists of mappings.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as stream:
            document = yaml.compose(stream, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path}: {getattr(error, 'strerror', None) or error}"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        return {}, [f"{path}:{line} {getattr(error, 'problem', None) or ' '.join(str(error).split())}"]
    except RecursionError:
        return {}, [f"{path}: lists and mappings are nested too deeply"]
    found: dict[str, GivenSetting] = {}
    faults: list[str] = []
    if isinstance(document, yaml.MappingNode):
        _take_sections(document, sections, path, found, faults)
        _flatten(document, "", path, found, faults)
    elif document is not None and document.tag != _NULL:
        faults.append(f"{path}: not a mapping of keys to values")
    return found, faults


def _take_sections(
    document: Any, sections: Collection[str], path: str, found: dict[str, GivenSetting], faults: list[str]
) -> None:
    """Move the sections from the document to `found`, what is wrong with them to `faults`."""
    import msgspec
    from yaml import MappingNode, SafeLoader, ScalarNode, SequenceNode
    from yaml.constructor import ConstructorError

    others = []
    for key, value in document.value:
        if not isinstance(key, ScalarNode) or key.value not in sections:
            others.append((key, value))
            continue
        place = f"{path}: line {key.start_mark.line + 1}: {key.value}"
        if key.value in found:
            faults.append(f"{place}: given twice")
            continue
        items = value.value if isinstance(value, SequenceNode) else [] if value.tag == _NULL else [value]
        if not all(isinstance(item, MappingNode) for item in items):
            faults.append(f"{place}: not a list of mappings")
            continue
        twice = [
            f"{path}: line {one.start_mark.line + 1}: {key.value}: {one.value}: given twice"
            for one in _given_twice(value, set())
        ]
        if twice:
            faults += twice
            continue
        if _expanded(value, {}) > _MOST_NODES:
            faults.append(f"{place}: has more than {_MOST_NODES} values, with those that its aliases repeat")
            continue
        try:
            texts = [msgspec.json.encode(SafeLoader("").construct_document(item)).decode() for item in items]
        except (ConstructorError, TypeError, ValueError, RecursionError) as error:
            faults.append(f"{place}: {getattr(error, 'problem', None) or error}")
            continue
        found[key.value] = GivenSetting(texts, place, tuple(item.start_mark.line + 1 for item in items))
    document.value = others


def _expanded(node: Any, known: dict[int, int]) -> int:
    """How many values a YAML node has once each alias is replaced by what it stands for. `known`: by node."""
    from yaml import MappingNode, SequenceNode

    count = known.get(id(node))
    if count is None:
        known[id(node)] = count = 1  # also of an alias of itself
        if isinstance(node, SequenceNode):
            count += sum(_expanded(item, known) for item in node.value)
        elif isinstance(node, MappingNode):
            count += sum(_expanded(part, known) for pair in node.value for part in pair)
        known[id(node)] = count
    return count


def _given_twice(node: Any, seen: set[int]) -> Iterator[Any]:
    """The keys within a YAML node that their mapping has already. `seen`: a node with aliases is looked at once."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    if isinstance(node, ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _given_twice(item, seen)
    elif isinstance(node, MappingNode):
        keys = set()
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in keys:
                    yield key
                keys.add(key.value)
            yield from _given_twice(value, seen)


def _flatten(node: Any, prefix: str, path: str, found: dict[str, GivenSetting], faults: list[str]) -> None:
    """Add the settings of a YAML mapping node to `found`, what is wrong with them to `faults`."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    for key, value in node.value:
        name = f"{prefix}{key.value}" if isinstance(key, ScalarNode) else f"{prefix}?"
        place = f"{path}: line {key.start_mark.line + 1}: {name}"
        items = value.value if isinstance(value, SequenceNode) else [value]
        if name in found:
            faults.append(f"{place}: given twice")
        elif isinstance(value, MappingNode) and name.count(".") > _MAX_DEPTH:  # perhaps an alias of itself
            faults.append(f"{place}: mappings are nested too deeply")
        elif isinstance(value, MappingNode):
            _flatten(value, f"{name}.", path, found, faults)
        elif not all(isinstance(item, ScalarNode) for item in items):
            faults.append(f"{place}: neither a value nor a list of values")
        elif any("\0" in item.value for item in items):
            faults.append(f"{place}: has a NUL character")
        elif isinstance(value, SequenceNode):
            found[name] = GivenSetting([_scalar(item) for item in items], place)
        else:
            found[name] = GivenSetting(_scalar(value), place)


def _scalar(node: Any) -> str:
    """A scalar as it was written; empty for null."""
    return "" if node.tag == _NULL else str(node.value)
