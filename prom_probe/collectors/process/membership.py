"""Which processes belong to which tree: the message that the process collector publishes for other workers."""

from collections.abc import Iterable

import msgspec


def encode_members(members: Iterable[tuple[str, int]], trees: Iterable[str]) -> bytes:
    """`members` are (tree, PID) pairs; `trees` also names trees without any."""
    by_tree: dict[str, list[int]] = {tree: [] for tree in trees}
    for tree, pid in members:
        by_tree.setdefault(tree, []).append(pid)
    return msgspec.msgpack.encode(by_tree)


def decode_members(data: bytes) -> dict[str, list[int]]:
    """The PIDs by tree; empty for bytes that are not such a message."""
    try:
        return msgspec.msgpack.decode(data, type=dict[str, list[int]]) if data else {}
    except msgspec.DecodeError:
        return {}
