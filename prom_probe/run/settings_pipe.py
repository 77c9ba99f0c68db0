"""What one interpreter of `prom-probe run` leaves in a pipe for the next one."""

from __future__ import annotations

import marshal
import os

import msgspec

from prom_probe.config.secret import conceal_hook, reveal_hook
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource

# What any pipe holds.
_PIPE_BYTES = 65536


class Handover(msgspec.Struct):
    """`blocked` are the signals that were blocked; the last `arguments` of the command line are COMMAND."""

    config: Config
    source: SettingsSource
    blocked: frozenset[int]
    arguments: int


def leave(handover: Handover) -> int | None:
    """A descriptor for the next interpreter to read; None if this is more than a pipe holds, or none can be had."""
    # marshal, unlike msgpack, has no trouble with a path that is not UTF-8.
    data = marshal.dumps(msgspec.to_builtins(handover, enc_hook=reveal_hook))
    if len(data) > _PIPE_BYTES:
        return None
    try:
        read_fd, write_fd = os.pipe()
    except OSError:
        return None
    os.write(write_fd, data)
    os.close(write_fd)
    os.set_inheritable(read_fd, True)
    return read_fd


def take(fd: int) -> Handover:
    """What was left there; closes the descriptor."""
    with open(fd, "rb") as stream:
        return msgspec.convert(marshal.loads(stream.read()), type=Handover, dec_hook=conceal_hook)
