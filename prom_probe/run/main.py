"""The program that `prom-probe run` becomes: it reads its settings from a descriptor, free of the parser's memory."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

if __name__ == "__main__":
    # msgspec imports it where it can: 1.3 MB (it needs `inspect` and `ast`) for nothing that we use.
    sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource

# What any pipe takes at once; settings that are longer are served without becoming anything.
_PIPE_BYTES = 65536


def become(config: Config, source: SettingsSource, command: tuple[str, ...]) -> NoReturn:
    """Replace this process by a fresh interpreter that serves.

    The command line's parser and all that it imported would stay in every worker: 3 MB of 32, measured. The process
    number stays; the arguments are repeated for whoever looks at `ps`, and end with COMMAND's.
    """
    settings = msgspec.msgpack.encode((config, source, len(command)))
    if len(settings) > _PIPE_BYTES:
        sys.exit(_serve(config, source, command))
    read_fd, write_fd = os.pipe()
    os.write(write_fd, settings)
    os.close(write_fd)
    os.set_inheritable(read_fd, True)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "prom_probe.run.main", str(read_fd), *sys.argv[1:]])


def _serve(config: Config, source: SettingsSource, command: tuple[str, ...]) -> int:
    """The exit status: COMMAND's, or an error's with its one line."""
    from prom_probe.run.command import CommandError
    from prom_probe.run.wiring import serve

    try:
        return serve(config, command, source)
    except (CommandError, ConfigError) as error:
        os.write(2, f"prom-probe: {error}\n".encode(errors="backslashreplace"))
        return error.status


def main() -> None:
    """Serve what `become` left in the descriptor."""
    with open(int(sys.argv[1]), "rb") as stream:
        config, source, arguments = msgspec.msgpack.decode(stream.read(), type=tuple[Config, SettingsSource, int])
    sys.exit(_serve(config, source, tuple(sys.argv[len(sys.argv) - arguments :])))


if __name__ == "__main__":
    main()
