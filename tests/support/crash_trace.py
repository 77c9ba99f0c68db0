"""A recorded trace of a store's file operations, and the directories that a crash at any point of it may leave."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prom_probe.model.labels import Labels
from prom_probe.tsdb.disk import file_ops
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import Disk, Life, small_pieces
from tests.support.tsdb_tools import samples_of

_STEPS = ("create", "write", "sync", "sync_folder", "rename", "link", "truncate", "remove")


@dataclass
class _File:
    """A file's bytes on the disk (`durable`), and the writes that are on their way to it: (offset, bytes)."""

    durable: bytes = b""
    size: int = 0
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def settle(self) -> None:
        self.durable, self.pending = self._with(self.pending), []

    def _with(self, writes: list[tuple[int, bytes]]) -> bytes:
        content = bytearray(self.durable)
        for offset, data in writes:
            content[len(content) :] = bytes(max(0, offset - len(content)))
            content[offset : offset + len(data)] = data
        return bytes(content)

    def after_crash(self, chance: random.Random) -> bytes:
        """Some of the writes are there, in any order; others left zeros, were cut off, or never came."""
        kept = []
        for offset, data in self.pending:
            match chance.randrange(4):
                case 0:
                    kept.append((offset, data))
                case 1:
                    kept.append((offset, data[: chance.randrange(len(data) + 1)]))
                case 2:
                    kept.append((offset, bytes(len(data))))
        return self._with(kept)


# A change of the directory: what becomes of (name -> file).
_Change = Callable[[dict[str, _File]], None]


class CrashTrace:
    """Records the operations of one directory; `crash` makes what the disk may have after the first `count` of them."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, tuple[Any, ...]]] = []
        self._files: dict[int, int] = {}  # descriptor -> the number of the `create` that opened it

    @contextmanager
    def beneath(self) -> Iterator[CrashTrace]:
        """Record what the store does; the operations are done as well."""
        with ExitStack() as stack:
            for name in _STEPS:
                stack.enter_context(patch.object(file_ops, name, self._recorded(name, getattr(file_ops, name))))
            yield self

    def _recorded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            match name:
                case "create":
                    fd = real(*arguments)
                    self._files[fd] = len(self.steps)
                    self.steps.append((name, (arguments[1],)))
                    return fd
                case "write":
                    data = b"".join(arguments[1])
                    self.steps.append((name, (self._files[arguments[0]], data)))
                    return real(arguments[0], [data])
                case "sync":
                    self.steps.append((name, (self._files[arguments[0]],)))
                case _:
                    self.steps.append((name, arguments[1:]))
            return real(*arguments)

        return call

    def crash(self, count: int, folder: Path, chance: random.Random) -> None:
        """Make `folder` as it may be after the first `count` steps and a power cut."""
        opened: dict[int, _File] = {}
        now: dict[str, _File] = {}  # as the store sees it
        durable: dict[str, _File] = {}
        changes: list[_Change] = []  # since the directory was synced
        for number, (name, arguments) in enumerate(self.steps[:count]):
            change: _Change | None = None
            match name:
                case "create":
                    opened[number] = file = now.get(arguments[0]) or _File()
                    file.durable, file.size, file.pending = b"", 0, []
                    change = _put(arguments[0], file)
                case "write":
                    file = opened[arguments[0]]
                    file.pending.append((file.size, arguments[1]))
                    file.size += len(arguments[1])
                case "sync":
                    opened[arguments[0]].settle()
                case "sync_folder":
                    durable, changes = dict(now), []
                case "rename" | "link":
                    change = _move(*arguments, keep=name == "link")
                case "truncate":
                    file = now[arguments[0]]
                    file.settle()
                    file.durable, file.size = file.durable[: arguments[1]], arguments[1]
                case "remove":
                    change = _drop(arguments[0])
            if change is not None:
                change(now)
                changes.append(change)
        for change in changes:
            if chance.random() < 0.5:
                change(durable)
        folder.mkdir()
        for name, file in durable.items():
            (folder / name).write_bytes(file.after_crash(chance))


def _put(name: str, file: _File) -> _Change:
    return lambda entries: entries.update({name: file})


def _move(name: str, new: str, *, keep: bool) -> _Change:
    def change(entries: dict[str, _File]) -> None:
        if name in entries:
            entries[new] = entries[name] if keep else entries.pop(name)

    return change


def _drop(name: str) -> _Change:
    return lambda entries: (entries.pop(name, None), None)[1]


class TracedLife:
    """A short life of a store, recorded; what a crash anywhere in it leaves must open with all that was flushed."""

    def __init__(self, folder: Path) -> None:
        self.trace = CrashTrace()
        self._marks: list[tuple[int, dict[Labels, dict[int, bytes]]]] = [(0, {})]
        with small_pieces(), self.trace.beneath():
            life = Life(folder, Disk())
            for turn in range(5):
                for change in (
                    lambda life=life: life.rows(5, [1.5, 2.0, None]),
                    lambda life=life: life.appended([(0, 1.0), (1, 2.5)]),
                    life.tidy,
                    lambda life=life: life.rows(4, [0.1, 0.2, 0.3]),
                    lambda life=life, turn=turn: life.grow(turn % 2),
                ):
                    change()
                    life.flush()
                    self._marks.append((len(self.trace.steps), life.safe))
            self._there = life.there
            life.store.close()

    def check(self, count: int, folder: Path, chance: random.Random) -> None:
        """Crash after `count` steps, and open what is left: what was flushed is there, and nothing is made up."""
        self.trace.crash(count, folder, chance)
        safe = next(safe for steps, safe in reversed(self._marks) if steps <= count)
        store = Store(StoreOptions(path=str(folder)))
        found = samples_of(store.snapshot())
        store.close()
        for labels, samples in safe.items():
            assert samples.items() <= dict(found.get(labels, [])).items(), (count, labels)
        for labels, line in found.items():
            assert dict(line).items() <= self._there[labels].items(), (count, labels)
        reports: list[str] = []
        again = Store(StoreOptions(path=str(folder)), report=lambda level, text: reports.append(text))
        assert samples_of(again.snapshot()) == found and reports == [], count
        again.close()
        shutil.rmtree(folder)
