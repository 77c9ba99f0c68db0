"""execvp(3): os.execvp does not give a script without `#!` to the shell."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

# A folder of PATH where this happens does not have the program.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


def execvp(argv: Sequence[str]) -> int:
    """Become the program `argv[0]`, looked up in PATH. Returns an error number if that is impossible.

    As the C library does, a file that the kernel cannot execute is given to sh, and a program that may not be
    executed is looked for in the rest of PATH.
    """
    name = argv[0]
    if not name:
        return errno.ENOENT
    failure = errno.ENOENT
    # Not os.get_exec_path, which imports a module: there may be no descriptor left for that.
    for folder in [""] if "/" in name else os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, name)
        number = _execute(path, list(argv))
        if number == errno.ENOEXEC:
            number = _execute("/bin/sh", ["sh", path, *argv[1:]])
        if number not in _NOT_THERE:
            failure = number
    return failure


def _execute(path: str, argv: list[str]) -> int:
    try:
        os.execv(path, argv)
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:  # a NUL in it
        return errno.ENOENT
