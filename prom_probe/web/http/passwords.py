"""HTTP basic authentication against bcrypt hashes, which are slow on purpose."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# The hash that an unknown user's password is compared with, so that it takes as long as a known user's.
_NOBODY = b"$2b$10$Mcc8fPZRMnmkQ55boL/2.ebDnwxJDJiAjlAsayOb7IL69E7dhPqdy"

# How many wrong passwords are remembered, and how many checks may wait for the one thread.
_MOST_WRONG = 256
_MOST_WAITING = 64


class Busy(Exception):
    """Too many passwords wait to be checked."""


class Passwords:
    """Owned by the loop's thread. A password is checked once, in a thread; the verdict is remembered."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name.encode(): hashed.encode() for name, hashed in users.items()}
        self._right: set[bytes] = set()
        self._wrong: dict[bytes, None] = {}
        self._waiting = 0
        self._pool: ThreadPoolExecutor | None = None

    def known(self, authorization: str) -> bool | None:
        """The remembered verdict on an Authorization header, None where `check` must find it."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        key = _key(*credentials)
        return True if key in self._right else False if key in self._wrong else None

    async def check(self, authorization: str) -> bool:
        """The verdict, after about a tenth of a second of another thread's time. Raises Busy."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        if self._waiting >= _MOST_WAITING:
            raise Busy
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "passwords")
        name, password = credentials
        hashed = self._users.get(name)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            same = await loop.run_in_executor(self._pool, _compare, password, hashed or _NOBODY)
        finally:
            self._waiting -= 1
        right = same and hashed is not None
        key = _key(name, password)
        if right:
            self._right.add(key)
        else:
            while len(self._wrong) >= _MOST_WRONG:
                del self._wrong[next(iter(self._wrong))]
            self._wrong[key] = None
        return right

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _compare(password: bytes, hashed: bytes) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # longer than 72 bytes, or contains a zero byte
        return False


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    """(user, password) of an Authorization header."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _key(name: bytes, password: bytes) -> bytes:
    return sha256(len(name).to_bytes(4, "little") + name + password).digest()
