"""The GPU collector's checkpoint, and what the end-of-run summary reads in it."""

import msgspec

# See `maxima.py`: labels, and the window's values.
SavedMaxima = list[tuple[list[str], list[tuple[int, float]]]]


class GpuState(msgspec.Struct, array_like=True, tag="gpu1"):
    """What a successor continues from."""

    faults: list[tuple[str, str, int]] = []  # call, code, count
    wrapped: list[tuple[str, str, str, float]] = []  # uuid, family, label, total
    xids: list[tuple[str, int, int]] = []  # uuid, xid, count
    tree_seconds: list[tuple[str, str, float]] = []  # tree, engine, total
    tree_peaks: dict[str, float] = {}  # most memory of all GPUs that a tree had, bytes
    maxima: SavedMaxima = []


def decode_gpu_state(state: bytes) -> GpuState:
    """An empty one for bytes that are none."""
    try:
        return msgspec.msgpack.decode(state, type=GpuState)
    except msgspec.DecodeError:
        return GpuState()


def read_gpu_peaks(state: bytes) -> dict[str, float]:
    """Each tree's peak of GPU memory, of the GPU worker's state: its collectors' checkpoints by name, in msgpack."""
    try:
        checkpoints = msgspec.msgpack.decode(state, type=dict[str, bytes])
    except msgspec.DecodeError:
        return {}
    return decode_gpu_state(checkpoints.get("gpu", b"")).tree_peaks
