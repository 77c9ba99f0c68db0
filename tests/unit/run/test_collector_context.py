"""What the collectors are told by the settings and by whether a COMMAND is wrapped."""

from __future__ import annotations

import os
from typing import cast

import pytest

from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.run.collector_context import choose_watches, collector_context
from prom_probe.run.command import Command
from prom_probe.run.shared import Shared


class Wrapped:
    """A COMMAND, as far as it concerns what is watched."""

    name = "train"
    pid = 4711


@pytest.mark.parametrize(
    ("setting", "wrapped", "shown"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
def test_command_lines_are_shown_where_a_command_is_wrapped_or_as_asked_for(
    setting: str, wrapped: bool, shown: bool
) -> None:
    """--collect.cmdline."""
    log = Log("error", "logfmt")
    shared = Shared(Config(collect_cmdline=setting), log)
    choose_watches(shared, cast(Command, Wrapped()) if wrapped else None)
    assert collector_context(shared, log).cmdline is shown


def test_no_process_of_ours_has_pid_0() -> None:
    """Not even while there is no canary: PID 0 is the parent of the first process of a pod's other containers."""
    log = Log("error")
    pids = collector_context(Shared(Config(), log), log).own_pids()
    assert os.getpid() in pids
    assert 0 not in pids
