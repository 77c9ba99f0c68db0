"""Where settings come from: flags, the environment, the YAML file; which of them wins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from prom_probe.config.error import ConfigError
from prom_probe.config.planned_target import find_target_fault
from prom_probe.config.remote_write import check_destinations
from prom_probe.config.secret import without_secrets
from prom_probe.config.settings import OPTIONS, Config, Option
from prom_probe.config.yaml_file import GivenSetting, read_yaml_file
from prom_probe.model.printable import shorten

_MOST_TOLD = 500  # characters of an error

_SECTIONS = frozenset(option.key for option in OPTIONS if option.file_only)


def find_config(
    flags: Mapping[str, str | Iterable[str]], environ: Mapping[str, str] = os.environ, *, file: str | None = None
) -> tuple[Config, list[str]]:
    """The Config that `flags` (by key), the environment and the YAML `file` make, and all their faults.

    A flag wins over a variable, a variable over the file. Commas separate the values of a variable; an empty one of a
    setting that takes one value is as if it were not there. Each fault names its place; a setting with a fault has its
    default in the Config.
    """
    values: dict[str, Any] = {}
    from_file, faults = read_yaml_file(file, _SECTIONS) if file else ({}, [])
    for option in OPTIONS:
        given = _given(option, flags, environ, from_file.pop(option.key, None))
        source = next((one for one in given if not _is_unset(option, one)), None)
        if source is not None:
            try:
                values[option.field] = _items(option, source, faults) if option.file_only else _parsed(option, source)
            except ValueError as error:
                faults.append(f"{source.place}: {_told(error)}")
    faults += [f"{given.place}: unknown key" for key, given in from_file.items() if given.value or not _is_group(key)]
    config = Config(**values)
    try:
        check_destinations(config.destinations)
    except ValueError as error:
        faults.append(f"--remote-write.url and remote_write: {error}")
    if fault := find_target_fault(config):
        faults.append(f"--scrape and scrape_configs: {fault}")
    return config, faults


def make_config(
    flags: Mapping[str, str | Iterable[str]], environ: Mapping[str, str] = os.environ, *, file: str | None = None
) -> Config:
    """The same Config. Raises ConfigError with the first fault and the number of further ones."""
    config, faults = find_config(flags, environ, file=file)
    if faults:
        raise ConfigError(faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))
    return config


class SettingsSource(NamedTuple):
    """What is needed to read the settings again: the flags that were given, and the file's path."""

    flags: dict[str, str | list[str]]
    file: str | None = None

    def read(self) -> Config:
        """The Config of these flags, the environment and the current file. Raises ConfigError as `make_config` does."""
        return make_config(self.flags, file=self.file)


def _is_group(key: str) -> bool:
    """Whether a mapping may follow the key; it may also be empty."""
    return any(option.key.startswith(f"{key}.") for option in OPTIONS)


def _given(
    option: Option, flags: Mapping[str, str | Iterable[str]], environ: Mapping[str, str], in_file: GivenSetting | None
) -> Iterator[GivenSetting]:
    """The setting where it is given, the one that wins first."""
    if not option.file_only:
        if option.key in flags:
            yield GivenSetting(_texts(flags[option.key]), option.flag)
        if option.variable in environ:
            text = environ[option.variable]
            yield GivenSetting(text.split(",") if option.many else text, option.variable)
    if in_file is not None:
        yield in_file


def _is_unset(option: Option, given: GivenSetting) -> bool:
    """Whether it is empty, of a setting that takes one value. As a flag it has to be one that may be nothing."""
    if given.value or option.many or option.file_only:
        return False
    return given.place != option.flag or getattr(Config(), option.field) is None


def _told(error: ValueError) -> str:
    """The error without secrets; it may quote a text of any length."""
    return shorten(without_secrets(str(error)), _MOST_TOLD)


def _texts(given: str | Iterable[str]) -> str | list[str]:
    return given if isinstance(given, str) else list(given)


def _parsed(option: Option, source: GivenSetting) -> Any:
    given = source.value
    if option.many:
        texts = [given] if isinstance(given, str) else given
        if option.commas:
            texts = ",".join(texts).split(",")
        values = tuple(option.parse(text.strip()) for text in texts if text.strip())
        option.check(values)
        return values
    if not isinstance(given, str):
        raise ValueError("takes one value, not a list")
    return option.parse(given)


def _items(option: Option, source: GivenSetting, faults: list[str]) -> tuple[Any, ...]:
    """The items of a section of the file; each that has a fault is left out."""
    items = []
    for text, line in zip(source.value, source.lines, strict=True):
        try:
            items.append(option.parse(text))
        except ValueError as error:
            faults.append(f"{source.place}: the item in line {line}: {_told(error)}")
    option.check(items)
    return tuple(items)
