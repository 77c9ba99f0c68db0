"""prometheus_client's parser of the text format, without the rest of that package: its servers and ssl take 7 MB."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

_PACKAGE = "prometheus_client"


def load_parser() -> Callable[[str], Iterable[Any]]:
    """`text_string_to_metric_families`: a page's text -> its `Metric`s.

    Where the package is not loaded yet, an empty one takes its place while the parser is imported, and is removed
    afterwards: the parser needs nothing else of the package.
    """
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    if places is not None:
        empty = ModuleType(_PACKAGE)
        empty.__path__ = list(places)
        sys.modules[_PACKAGE] = empty
    try:
        parser = importlib.import_module(f"{_PACKAGE}.parser")
    finally:
        if places is not None:
            for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
                del sys.modules[name]
    parse: Callable[[str], Iterable[Any]] = parser.text_string_to_metric_families
    return parse
