"""Verifying and repairing a store's folder that no process writes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from prom_probe.tsdb.block import Block
from prom_probe.tsdb.disk import folder as folders
from prom_probe.tsdb.disk.recovery import Fault, recover
from prom_probe.tsdb.encoding.record import BlockError
from prom_probe.tsdb.outcome import StorageError

_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class VerifiedStore:
    """What is in a store's folder, and what is wrong with it."""

    segments: int
    blocks: int
    samples: int
    faults: list[Fault]


def verify(path: str) -> VerifiedStore:
    """Read every record of every file, and change nothing. Raises StorageError if no store can be read."""
    folder = folders.open_to_read(path, damaged_format=True)
    try:
        listing = folder.list()
        damage = folders.format_damage(folder.fd, path)
        found = recover(folder, _ALL, lambda level, text: None, repair=False)
    finally:
        folder.close()
    faults = [*([Fault("format", 0, damage)] if damage else []), *found.faults]
    for files, piece in found.pieces:
        if isinstance(piece, Block) and files.name is not None:
            faults += _faults_of(piece, files.name)
    samples = sum(piece.samples for _, piece in found.pieces)
    return VerifiedStore(len(listing.segments), len(listing.blocks), samples, faults)


def _faults_of(block: Block, name: str) -> list[Fault]:
    """What is wrong with a block whose checksum is right."""
    try:
        for timeline in range(block.timelines):
            block.time_record(timeline)
        for place in range(block.columns):
            block.column(place)
    except BlockError as error:
        return [Fault(name, 0, str(error))]
    return []


def repair(path: str, report: Callable[[str, str], None]) -> bool:
    """Set aside what is damaged, and keep what is intact; False if something could not be repaired.

    `report` takes (level, text) of what is lost. Raises StorageError if no store can be written.
    """
    folder = folders.open_to_repair(path)
    try:
        damage = folders.format_damage(folder.fd, path)
        if damage:
            report("error", f"storage: {os.path.join(path, 'format')}: written anew: {damage}")
            folders.write_format(folder.fd)
        return not recover(folder, _ALL, report, repair=True, most_said=_ALL).unrepaired
    except OSError as error:
        raise StorageError(f"{path}: cannot repair: {folders.reason(error)}") from None
    finally:
        folder.close()
