"""Writes docs/configuration.md from the table of settings (`make docs`)."""

from __future__ import annotations

from prom_probe.config.settings import OPTIONS, Config, Option

_HEAD = """# Configuration

Every setting is a flag, an environment variable and a key of the YAML file that `--config.file` names. A flag wins
over the variable, the variable over the file, which `PROM_PROBE_CONFIG_FILE` can name too. An unknown variable that
starts with `PROM_PROBE_` is a warning in the log. In the file, a key may be written with dots or nested
(`log:` and below it `level: warn`). Repeatable settings are given as repeated flags, as a comma-separated variable,
or as a list in the file. Durations are written like `1m30s` or `500ms`, sizes like `512KB` or `32MB` (powers of
1024). An empty variable, or a key of the file without a value, is as if it were not there; of a repeatable setting it
is an empty list.

`prom-probe check-config FILE` names the line and key of each fault.

SIGHUP (without a COMMAND, which gets it otherwise) and `POST /-/reload` (with `--web.enable-lifecycle`) reload the
file. A file with a fault is refused as a whole: the old settings stay in force, and
`prom_probe_config_last_reload_successful` is 0. Settings marked "restart" keep their value until the next start; the
log names those that have changed.

This page is written by `make docs` from the table in `prom_probe/config/settings.py`.

| Flag | Variable | Default | Reload | |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(map(_row, OPTIONS))


def _row(option: Option) -> str:
    default = option.show(getattr(Config(), option.field))
    value = f"={option.metavar}" if option.metavar else ""
    several = " Repeatable." if option.many else ""
    cells = (
        f"`{option.key}` in the file" if option.file_only else f"`{option.flag}{value}`",
        "" if option.file_only else f"`{option.variable}`",
        f"`{default}`" if default else "",
        "restart" if option.restart else "yes",
        option.help.replace("|", "\\|") + several,
    )
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(page(), end="")
