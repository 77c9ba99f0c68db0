"""The file in a store's folder that says which API answers for the store while a process writes it."""

from __future__ import annotations

import os

NAME = "api"

# As in `file_ops`.
_CAREFULLY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def write(path: str, url: str) -> None:
    """Leave the API's URL, "" for none, in the folder; where that is impossible, do nothing."""
    try:
        fd = os.open(os.path.join(path, NAME), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _CAREFULLY, 0o600)
        with open(fd, "w") as stream:
            stream.write(f"{url}\n")
    except OSError:
        pass


def read(path: str) -> str:
    """The API's URL; "" for none."""
    try:
        with open(os.open(os.path.join(path, NAME), os.O_RDONLY | _CAREFULLY)) as stream:
            return stream.readline().strip()
    except (OSError, UnicodeDecodeError):
        return ""
