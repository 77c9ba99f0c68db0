"""Runs a soak and prints its verdict: `make soak`, MINUTES=... for how long. Needs root, for a disk of its own."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.support.http_peer import Peer
from tests.support.paths import ROOT
from tests.support.prometheus import matrix, scraping
from tests.support.sidecar import Sidecar, alive, command
from tests.support.soak.observers import (
    Observer,
    ask_dashboards,
    ours,
    read_counters,
    read_page,
    read_processes,
    read_ticks,
)
from tests.support.soak.record import Event, Failure, Record
from tests.support.soak.trouble import Slowloris, Trouble, drip_all, misbehave, plan, small_disk
from tests.support.soak.verdict import judge, table
from tests.support.strangers import address_of
from tests.support.waiting import wait_for

_PAGE = b"# TYPE soaked counter\n" + b"".join(b'soaked_total{i="%d"} 1\n' % i for i in range(200))
_TARGET = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)

_SCRAPE_INTERVAL = "5s"


def settings_texts(churn: int, minutes: float) -> list[str]:
    """Settings that differ in what each probe worker has to heed."""
    common = {
        # A tenth, and a small cache, so that both are full before the first third is measured.
        "storage.tsdb.retention.time": f"{max(60, round(minutes * 6))}s",
        "storage.tsdb.decode-cache-size": "512KB",
        "storage.tsdb.retention.size": "8MB",
        "watch": f"[churn=pid:{churn}]",
    }
    both = ({**common, "expose.max-window": window} for window in ("2m", "1m"))
    return ["".join(f"{key}: {value}\n" for key, value in settings.items()) for settings in both]


@contextmanager
def churning() -> Iterator[int]:
    """The PID of a workload."""
    with subprocess.Popen([sys.executable, "-m", "tests.support.soak.churn"], cwd=ROOT) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def soak(minutes: float) -> Record:
    """What a soak of so many minutes has seen."""
    record = Record()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        disk = stack.enter_context(small_disk(folder / "disk"))
        target = stack.enter_context(closing(Peer(_TARGET)))
        texts = settings_texts(stack.enter_context(churning()), minutes)
        settings = folder / "settings.yaml"
        settings.write_text(texts[0])
        flags = [f"--config.file={settings}", f"--storage.tsdb.path={disk}/store", f"--scrape=target={target.url}"]
        sidecar = stack.enter_context(Sidecar(flags=[*flags, "--web.enable-lifecycle"]))
        wait_for("samples", lambda: sidecar.value('proctree_processes{tree="churn"}'))
        record.begun_s = time.time()
        record.events.append(Event(record.begun_s, "start", "all"))
        with scraping(sidecar.web.removeprefix("http://"), _SCRAPE_INTERVAL) as prometheus:
            _observe(record, sidecar, Trouble(record, sidecar, disk, settings, texts), minutes * 60)
            _take_scrapes(record, prometheus.url)
        _end(record, sidecar, disk / "store")
    return record


def _observe(record: Record, sidecar: Sidecar, trouble: Trouble, duration_s: float) -> None:
    """Everybody looks on while the plan is carried out."""
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(Slowloris(address_of(url)))) for url in (sidecar.web, sidecar.api)]
        looks = {
            "reading of /metrics": (0.2, lambda: read_page(sidecar)),
            "query of a dashboard": (0.25, ask_dashboards(sidecar)),
            "stranger": (0.5, misbehave(sidecar)),
            "slow stranger": (0.5, lambda: drip_all(slow)),
            "look at processes": (1.7, lambda: read_processes(record, sidecar)),
            "look at counters": (5.0, lambda: read_counters(record, sidecar)),
            "look at samples": (10.0, lambda: read_ticks(record, sidecar)),
        }
        observers = {
            kind: stack.enter_context(Observer(record, kind, period_s, look))
            for kind, (period_s, look) in looks.items()
        }
        for after_s, each in plan(duration_s):
            time.sleep(max(0.0, record.begun_s + after_s - time.time()))
            trouble.do(each)
        time.sleep(max(0.0, record.begun_s + duration_s - time.time()))
        record.ended_s = time.time()
        record.events.append(Event(record.ended_s, "end", "all"))
    for kind in ("look at counters", "look at samples"):
        observers[kind].attempt()


def _take_scrapes(record: Record, url: str) -> None:
    """How Prometheus fared."""
    for samples in matrix(
        url, f'up{{job="sidecar"}}[{round(record.ended_s - record.begun_s) + 5}s]', time.time()
    ).values():
        for t_s, value in samples:
            record.requests["scrape by Prometheus"] += 1
            if float(value) != 1:
                record.failures.append(Failure(t_s, "scrape by Prometheus", "up is 0"))


def _end(record: Record, sidecar: Sidecar, store: Path) -> None:
    """SIGTERM, and what it leaves."""
    processes = list(ours(sidecar))
    sidecar.process.terminate()
    record.status = sidecar.wait()
    record.left = [f"{name} {pid}" for name, pid in processes if alive(pid)]
    record.log = sidecar.stderr
    verified = command("storage", "verify", str(store))
    if verified.returncode:
        record.stored = (verified.stderr or verified.stdout).splitlines()[0]


def main() -> int:
    """The exit status: 1 if the verdict is bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    if os.geteuid():
        parser.error("it needs root, for a disk of its own")
    if not shutil.which("prometheus"):
        parser.error("prometheus is not installed")
    record = soak(args.minutes)
    rows = judge(record)
    print(f"{(record.ended_s - record.begun_s) / 60:.1f} minutes\n\n{table(rows)}")
    bad = [row.what for row in rows if not row.good]
    print(f"\nfailed: {', '.join(bad)}" if bad else "\npassed")
    if bad:
        print(f"\n{record.log}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
