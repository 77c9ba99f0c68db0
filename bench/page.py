"""The page in chromium: until the first graph, the longest frames over eight hours, what being live costs the sidecar.

It needs chromium. The eight hours are 60 processes and one more that lives for two seconds every ten minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from bench.report import print_table
from prom_probe.collectors.process import families as f
from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.model.definition import Definition
from prom_probe.model.family import Column
from prom_probe.model.labels import make_labels
from prom_probe.model.sample import STALE
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.chromium import Chromium
from tests.support.sidecar import FIFTY, Sidecar

TREE, MIB = "job", 1 << 20
PROCESSES, BRIEF_EVERY_S, BRIEF_S = 60, 600, 2
PLENTY = 1 << 40
OPENING = ("until the first graph", "from its data to the first graph", "until all is there")
_TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline"]

OF_TREE = (f.PROCESSES, f.RESIDENT, f.CPU, f.THREADS, f.OPEN_FDS, f.IO_READ, f.IO_WRITE, f.WAITED)
OF_PROCESS = (
    f.PROCESS_START_TIME,
    f.PROCESS_RESIDENT,
    f.PROCESS_CPU,
    f.PROCESS_THREADS,
    f.PROCESS_OPEN_FDS,
    f.PROCESS_IO_READ,
    f.PROCESS_IO_WRITE,
    f.PROCESS_INFO,
)

# In the page: when each answer and the first drawing came.
WATCH = """
window.seen = { answers: [], drawn: 0 };
const ask = window.fetch;
window.fetch = async (...all) => { const answer = await ask(...all); const text = await answer.text();
  seen.answers.push([String(all[0]), performance.now()]); return new Response(text, { status: answer.status }); };
const look = () => { seen.drawn ||= document.querySelector('#panel-memory canvas') ? performance.now() : 0; };
new MutationObserver(look).observe(document, { childList: true, subtree: true });
"""


def store_hours(folder: str, hours: float) -> None:
    """A run that ends now, on disk."""
    source = random.Random(24)
    seconds = round(hours * 3600)
    start = time.time() - seconds
    store = Store(StoreOptions(path=folder, retention_bytes=PLENTY, retention_ms=PLENTY))
    history = History(RunInfo(["python", "job.py"], "bench", start, trees=[TREE]), store)
    brief = range(0, seconds - BRIEF_EVERY_S, BRIEF_EVERY_S)
    pids = [*range(1000, 1000 + PROCESSES), *range(5000, 5000 + len(brief))]
    columns = [_column(each, {"tree": TREE}) for each in OF_TREE]
    for pid in pids:
        of = {"tree": TREE, "pid": str(pid), "comm": f"worker{pid % 7}" if pid < 5000 else "brief"}
        columns += [_column(each, of) for each in OF_PROCESS]
    store.announce("process", 0, 0, columns)
    history.announce(0, columns)
    memory = {pid: source.uniform(20, 400) * MIB for pid in pids}
    cpu = dict.fromkeys(pids, 0.0)
    for second in range(seconds):
        t, row, total, busy = start + second, array("d"), 0.0, 0.0
        for pid in pids:
            began = start - 60 if pid < 5000 else start + brief[pid - 5000] + 300
            if not began <= t < began + (PLENTY if pid < 5000 else BRIEF_S):
                row.extend([STALE] * len(OF_PROCESS))
                continue
            if pid < 5000:
                memory[pid] = max(5 * MIB, memory[pid] + source.gauss(0, 2 * MIB))
                cpu[pid] += max(0.0, source.gauss(0.05, 0.05))
            amount = memory[pid] if pid < 5000 else 3000.0 * MIB
            total, busy = total + amount, busy + cpu[pid]
            row.extend([began, amount, cpu[pid], pid % 9 + 1, pid % 60, second * pid, second * 7.0, 1.0])
        whole = array("d", [PROCESSES, total, busy, 200, 900, second * 1e5, second * 3e5, math.sqrt(second)]) + row
        store.append_row("process", 0, round(t * 1000), whole.tobytes())
        history.row(t, whole.tobytes())
        while store.maintain(round(t * 1000)):
            pass
        if second % 60 == 0:
            history.tick(t)
    history.close(start + seconds)
    store.close()


def _column(definition: Definition, labels: dict[str, str]) -> Column:
    more = {"ppid": "1", "cmdline": f"worker of {labels.get('pid')}"} if definition is f.PROCESS_INFO else {}
    modes = {"mode": "user"} if definition in (f.CPU, f.PROCESS_CPU) else {}
    return Column(definition.family, make_labels(definition.family.name, {**labels, **more, **modes}))


def first_graph(page: Chromium, url: str) -> tuple[float, float, float]:
    """Milliseconds: from opening to the first graph, from its data to the first graph, until all is loaded."""
    page.open("about:blank")
    page.events.clear()
    page.open(url)
    page.wait("loaded", "window.seen?.drawn && document.querySelector('#graphs').getAttribute('aria-busy') === 'false'")
    drawn: float = page.evaluate("seen.drawn")
    answers: list[tuple[str, float]] = page.evaluate("seen.answers.filter(([url]) => url.includes('query_range'))")
    return drawn, drawn - max(at for _, at in answers if at <= drawn), answers[-1][1]


def frames(page: Chromium) -> dict[str, list[float]]:
    """CPU milliseconds of each task of the page's thread, while somebody moves, zooms and chooses.

    Not the time between frames: on a busy machine that tells how busy it is.
    """
    page.evaluate("document.activeElement.blur()")
    acts: dict[str, Callable[[], None]] = {
        "moving with the mouse": lambda: _drag(page, 0.7, 0.4, shift=True),
        "zooming by dragging": lambda: _drag(page, 0.3, 0.6, shift=False),
        "zooming out by a key": lambda: page.key("-"),
        "zooming in by a key": lambda: page.key("+"),
        "choosing the peak": lambda: page.key("m"),
        "choosing the second after": lambda: page.key("ArrowRight"),
    }
    return {name: _tasks(page, act) for name, act in acts.items()}


def _drag(page: Chromium, start: float, end: float, *, shift: bool) -> None:
    at = page.place("#panel-memory .u-over")
    left, y = at["left"], at["top"] + at["height"] / 2
    places = (left + at["width"] * start, y), (left + at["width"] * end, y)
    page.drag(*places, steps=40, shift=shift)


def _tasks(page: Chromium, act: Callable[[], None]) -> list[float]:
    """What `act` and all that it leads to make the page's thread do."""
    page.events.clear()
    page.ask("Tracing.start", traceConfig={"includedCategories": _TRACED})
    act()
    page.listen(1)
    page.wait("loaded", "document.querySelector('#graphs').ariaBusy === 'false'")
    page.listen(1)
    page.ask("Tracing.end")
    while not page.of("Tracing.tracingComplete"):
        page.listen(0.1)
    events = [event for part in page.of("Tracing.dataCollected") for event in part["value"]]
    main = {(each["pid"], each["tid"]) for each in events if each.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [each for each in events if each["name"] == "RunTask" and (each["pid"], each["tid"]) in main]
    assert tasks
    return [each.get("tdur", 0) / 1000 for each in tasks]


def live_costs(seconds: float) -> list[tuple[str, str, str]]:
    """The aggregator's CPU a second and PSS of all that is ours, with a page open and without, 50 processes watched."""
    rows = []
    with Sidecar("--", sys.executable, "-c", FIFTY) as sidecar, Chromium() as page:
        aggregator = sidecar.worker("aggregator")
        time.sleep(15)
        for name, url in (
            ("no page", "about:blank"),
            ("the page, live", sidecar.api),
            ("no page, afterwards", "about:blank"),
        ):
            page.size(1280, 900)
            page.open(url)
            page.listen(10)
            before, begun = _cpu_seconds(aggregator), time.monotonic()
            page.listen(seconds)
            used = (_cpu_seconds(aggregator) - before) / (time.monotonic() - begun)
            rows.append((name, f"{1000 * used:.1f} ms", f"{_pss_mib(sidecar.process.pid):.1f} MiB"))
    return rows


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mib(supervisor: int) -> float:
    """Of a supervisor and of its children that are ours."""
    pids = [supervisor]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat, comm = Path(f"/proc/{entry}/stat").read_text(), Path(f"/proc/{entry}/comm").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == supervisor and comm.startswith("pp-"):
                pids.append(int(entry))
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--live-seconds", type=float, default=30)
    parser.add_argument("--folder", help="a stored run of so many hours, instead of one made for the purpose")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or made
        if not arguments.folder:
            store_hours(folder, arguments.hours)
        with Sidecar(flags=[f"--storage.tsdb.path={folder}"], serve=True) as server, Chromium() as page:
            page.size(1280, 900)
            page.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
            times = [first_graph(page, server.api) for _ in range(3)]
            head = (f"{arguments.hours:g} h of {PROCESSES} processes", "first", "second", "third")
            rows = [(name, *(f"{one[at]:.0f} ms" for one in times)) for at, name in enumerate(OPENING)]
            print_table(head, rows)
            print()
            print_table(
                ("CPU of tasks while", "tasks", "longer than 5 ms", "longest"),
                [
                    (name, str(len(some)), str(sum(one > 5 for one in some)), f"{max(some):.1f} ms")
                    for name, some in frames(page).items()
                ],
            )
    print()
    print_table(("50 processes", "aggregator's CPU a second", "PSS of all"), live_costs(arguments.live_seconds))


if __name__ == "__main__":
    main()
