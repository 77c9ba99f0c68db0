"""Hands the terminal over to COMMAND where it has made a process group of its own."""

from __future__ import annotations

import os
import signal


def give_terminal(supervisor: int, command: int) -> bool:
    """Make COMMAND's group the foreground in our place, and continue it. Returns whether that was done.

    Only where COMMAND leads a group other than ours, while the supervisor leads the foreground group: started without
    us, COMMAND would lead that one, and would not have left it (`timeout`, an interactive shell). SIGTTOU has to be
    blocked.
    """
    try:
        if os.getpgid(command) != command or os.getpgrp() != supervisor:
            return False
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        if os.tcgetpgrp(terminal) != supervisor:
            return False
        os.tcsetpgrp(terminal, command)
        os.killpg(command, signal.SIGCONT)
        return True
    except OSError:
        return False
    finally:
        os.close(terminal)
