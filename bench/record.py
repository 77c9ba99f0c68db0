"""Records the frames of our own collectors beside a command, once a second, for `python -m bench.store` to store.

python -m bench.record bench/own_run.xz --beats 1100 -- python train.py
"""

from __future__ import annotations

import argparse
import lzma
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from prom_probe.collectors.base import Context
from prom_probe.collectors.registry import COLLECTORS
from prom_probe.model.watch import Watch
from prom_probe.ring.codec import Announce, Batch, decode, encode, encode_announcements

NAMES = ("process", "cgroup", "system")

_LENGTH = struct.Struct("<I")
_FRAME_BYTES = 1 << 20


def record(path: Path, pid: int, beats: int) -> None:
    """Collect `beats` times and write the frames as they would go into the rings."""
    context = Context(watches=(Watch("recorded", "pid", str(pid)),), own_pids=lambda: [os.getpid()])
    collectors = [COLLECTORS[name](context) for name in NAMES]
    announced = dict.fromkeys(NAMES, (-1, 0))
    begun = time.monotonic()
    with lzma.open(path, "wb") as out:
        for beat in range(beats):
            for collector in collectors:
                t_ms, layout = time.time_ns() // 1_000_000, collector.layout
                collector.collect()
                number, count = announced[collector.name]
                count = count if number == layout.number else 0
                for _, frame in encode_announcements(
                    collector.name, layout.number, layout.columns, count, _FRAME_BYTES
                ):
                    out.write(_LENGTH.pack(len(frame)) + frame)
                announced[collector.name] = (layout.number, len(layout.columns))
                frame = encode(Batch(collector.name, layout.number, t_ms, 0, 0, layout.row.tobytes()))
                out.write(_LENGTH.pack(len(frame)) + frame)
            time.sleep(max(0.0, begun + beat + 1 - time.monotonic()))


def read(path: Path) -> Iterator[Announce | Batch]:
    """The frames of a recording."""
    with lzma.open(path) as stream:
        while head := stream.read(_LENGTH.size):
            frame = decode(stream.read(_LENGTH.unpack(head)[0]))
            if isinstance(frame, Announce | Batch):
                yield frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("file", type=Path)
    parser.add_argument("--beats", type=int, default=1100)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    with subprocess.Popen(args.command, start_new_session=True) as command:
        try:
            record(args.file, command.pid, args.beats)
        finally:
            os.killpg(command.pid, signal.SIGTERM)  # its children too


if __name__ == "__main__":
    main()
