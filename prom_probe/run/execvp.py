"""execvp(3): os.execvp does not give a script without `#!` to the shell."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

# A folder of PATH where this happens does not have the program.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT})


def execvp(argv: Sequence[str]) -> int:
    """Become the program `argv[0]`, looked up in PATH. Returns an error number if that is impossible.

    As the C library does, a file that the kernel cannot execute is given to sh, and a program that may not be
    executed is looked for in the rest of PATH.
    """
    name = argv[0]
    if not name:
        return errno.ENOENT
    if "/" in name:
        return _execute_or_interpret(name, argv)
    failure = errno.ENOENT
    # Not os.get_exec_path, which imports a module: there may be no descriptor left for that.
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        number = _execute_or_interpret(os.path.join(folder, name), argv)
        if number == errno.EACCES:
            failure = number
        elif number not in _NOT_THERE:
            return number
    return failure


def _execute_or_interpret(path: str, argv: Sequence[str]) -> int:
    number = _execute(path, list(argv))
    return _execute("/bin/sh", ["sh", path, *argv[1:]]) if number == errno.ENOEXEC else number


def _execute(path: str, argv: list[str]) -> int:
    try:
        os.execv(path, argv)
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:  # a NUL in it
        return errno.ENOENT
