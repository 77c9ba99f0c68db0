"""Which processes belong to which tree, as the process collector tells other workers."""

from collections.abc import Iterable

import msgspec


def encode_members(members: Iterable[tuple[str, int]], trees: Iterable[str]) -> bytes:
    """(tree, PID) of each member, and the trees that may have none."""
    by_tree: dict[str, list[int]] = {tree: [] for tree in trees}
    for tree, pid in members:
        by_tree.setdefault(tree, []).append(pid)
    return msgspec.msgpack.encode(by_tree)


def decode_members(data: bytes) -> dict[str, list[int]]:
    """The PIDs by tree; none for bytes that are not a list of members."""
    try:
        return msgspec.msgpack.decode(data, type=dict[str, list[int]]) if data else {}
    except msgspec.DecodeError:
        return {}
