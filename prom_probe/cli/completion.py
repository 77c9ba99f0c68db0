"""`prom-probe completion`."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete prom-probe's commands and flags.

    For bash: prom-probe completion bash > ~/.local/share/bash-completion/completions/prom-probe
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "prom-probe", "_PROM_PROBE_COMPLETE").source())
