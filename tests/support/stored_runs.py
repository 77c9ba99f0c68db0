"""Stored runs whose figures a test knows."""

from __future__ import annotations

from pathlib import Path

from prom_probe.collectors.process import families as f
from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.model.definition import Definition
from prom_probe.model.family import Column
from prom_probe.model.labels import make_labels
from prom_probe.model.run_event import RunEvent
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.process_rows import WIDTH, Values, columns_of, row_of
from tests.support.tsdb_tools import row

MIB = 1 << 20
START_S = 1_700_000_000.0


def _column(definition: Definition, **labels: str) -> Column:
    return Column(definition.family, make_labels(definition.family.name, labels))


def make_stored_run(
    path: Path, *, seconds: int = 60, peak_mib: int = 300, exit_status: int = 0, oom_kill_second: int | None = None
) -> str:
    """A run of `python train.py` whose memory peaks ten seconds after its start; returns its directory.

    CPU: half a second each second, a tenth of it in the system; IO: 1 MiB read each second, nothing written. A child
    (PID 8) lives from the fifth second to the fifteenth and has the peak but for the 20 MiB of PID 7, and a quarter
    of a CPU; PID 7 has a tenth, and in the tenth second a quarter. There was one gap. At the end all series
    have staleness markers.
    """
    store = Store(StoreOptions(path=str(path)))
    run = RunInfo(["python", "train.py"], "host", START_S, trees=["python"], version="1")
    history = History(run, store)
    tree = [
        _column(f.RESIDENT_MAX, tree="python"),
        _column(f.RESIDENT, tree="python"),
        _column(f.CPU, tree="python", mode="user"),
        _column(f.CPU, tree="python", mode="system"),
        _column(f.IO_READ, tree="python"),
        _column(f.IO_WRITE, tree="python"),
        _column(f.PROCESSES, tree="python"),
        *columns_of(7, "python", tree="python"),
    ]
    store.announce("process", 0, 0, tree)
    history.announce(0, tree[-WIDTH:])
    most = 0
    for second in range(1, seconds + 1):
        t, child = START_S + second, 5 <= second < 15
        used = peak_mib if second == 10 else 20 + (20 if child else 0)
        most = max(most, used)
        values = [most * MIB, used * MIB, second * 0.45, second * 0.05, second * MIB, 0.0, 2.0 if child else 1.0]
        if second == 5:
            columns = columns_of(8, "loader", tree="python", ppid=7)
            store.announce("process", 0, len(tree), columns)
            history.announce(WIDTH, columns)
        loader = Values(START_S + 4.5, (used - 20) * MIB, (most - 20) * MIB, (second - 4) * 0.25) if child else None
        python = Values(START_S, 20 * MIB, 20 * MIB, second * 0.1 + (0.15 if second >= 10 else 0.0))
        of_processes = row_of(python, loader) if second >= 5 else row_of(python)
        store.append_row("process", 0, round(t * 1000), row(values) + of_processes)
        history.row(t, of_processes)
        history.tick(t)
    if oom_kill_second is not None:
        history.happened(RunEvent(START_S + oom_kill_second, "oom_kill", "python", text="1 process"))
    history.happened(RunEvent(START_S + 30, "gap", text="process: 3 s without samples"))
    end_s = START_S + seconds + 0.2
    history.command_ended(end_s, exit_status, None, duration_s=seconds - 0.5, cpu_seconds=seconds * 0.5 - 1)
    history.close(end_s)
    store.append_row("process", 0, round(end_s * 1000), row([None] * (len(tree) + WIDTH)))
    store.close()
    return str(path)
