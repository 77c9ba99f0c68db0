"""Every setting as a flag of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from prom_probe.config.settings import FLAGS, Config, Option
from prom_probe.config.sources import SettingsSource
from prom_probe.config.variables import CONFIG_FILE, unknown_variables
from prom_probe.log import Log

F = TypeVar("F", bound=Callable[..., Any])


def settings_flags(command: F, shown: tuple[str, ...] = ("",)) -> F:
    """Add a flag for each setting and --config.file; --help shows those whose keys start with one of `shown`."""
    for option in reversed(FLAGS):
        settings = _click_settings(option, hidden=not option.key.startswith(shown))
        command = click.option(option.flag, option.field, **settings)(command)
    file_help = "Read settings from this YAML file."
    return click.option("--config.file", "config_file", metavar="FILE", envvar=CONFIG_FILE, help=file_help)(command)


def settings_source(flags: dict[str, Any]) -> SettingsSource:
    """The source of the settings, given a command's flags."""
    file = flags.pop("config_file")
    keys = {option.field: option.key for option in FLAGS}
    given = {field: list(value) if isinstance(value, tuple) else value for field, value in flags.items() if value}
    return SettingsSource({keys[field]: value for field, value in given.items()}, file)


def read_settings(source: SettingsSource) -> Config:
    """The Config of the source; a variable that means nothing is a warning in the log. Raises ConfigError."""
    config = source.read()
    log = Log(config.log_level, config.log_format, "settings")
    for line in unknown_variables():
        log("warn", line)
    return config


def _click_settings(option: Option, hidden: bool) -> dict[str, Any]:
    several = " Repeatable." if option.many else ""
    settings: dict[str, Any] = {"help": option.help + several, "default": None, "hidden": hidden}
    default = option.show(getattr(Config(), option.field))
    if default and default != "false":
        settings["help"] += f"  [default: {default}]"
    if option.metavar:
        settings["metavar"] = option.metavar
        settings["multiple"] = option.many
    else:
        settings["is_flag"], settings["flag_value"] = True, "true"
    return settings
