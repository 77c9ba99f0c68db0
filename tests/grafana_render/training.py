"""What the pictures show: a run of some minutes with three loaders, one of which once takes far too much memory."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

EPOCH_S, STEP_S, SPIKE_AT_S = 30.0, 0.5, 80.0
MIB = 1 << 20


def named(name: str) -> None:
    """The name that the kernel knows this process by."""
    Path("/proc/self/comm").write_text(name)


def hold(mebibytes: int) -> bytearray:
    """Memory of which every page is touched."""
    block = bytearray(mebibytes * MIB)
    block[::4096] = b"x" * len(block[::4096])
    return block


def burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def load(number: int, start: float) -> None:
    """Decode, hand over, decode: more memory by and by, and at one time one file that is not as the others."""
    named(f"loader-{number}")
    parent = os.getppid()
    held = [hold(24 * number)]
    spike = number == 2
    while os.getppid() == parent:
        elapsed = time.monotonic() - start
        burn(0.06 + 0.04 * (number + int(elapsed) // 5 % 3) / 3)
        shards = 1 + int(elapsed / 4) % 6
        if shards > len(held):
            held.append(hold(8 * number))
        else:
            del held[shards:]
        if spike and elapsed > SPIKE_AT_S:
            huge, spike = hold(1400), False
            time.sleep(1.2)
            del huge
        time.sleep(STEP_S - 0.1)


def train(start: float, seconds: float) -> None:
    """Steps, a pause for evaluation, and a checkpoint at each epoch's end."""
    named("train")
    weights = hold(180)
    with tempfile.TemporaryFile() as checkpoint:
        epochs = 0
        while (elapsed := time.monotonic() - start) < seconds:
            phase = elapsed % EPOCH_S
            burn(STEP_S * (0.15 if phase > 0.8 * EPOCH_S else 0.7))
            if elapsed // EPOCH_S > epochs:
                epochs += 1
                checkpoint.seek(0)
                checkpoint.write(weights[: 60 * MIB])
                os.fsync(checkpoint.fileno())
            time.sleep(STEP_S * 0.25)


def main() -> None:
    start = time.monotonic()
    for number in (1, 2, 3):
        if os.fork() == 0:
            load(number, start)
            os._exit(0)
    train(start, float(sys.argv[1]))


if __name__ == "__main__":
    main()
