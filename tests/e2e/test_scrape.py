"""Applications' own metrics: what is stored of a page is what a real Prometheus stores of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.http_peer import Peer
from tests.support.peers import free_port, node_exporter, prometheus
from tests.support.programs import program
from tests.support.replay import OPENMETRICS, Answer, Replay, page
from tests.support.sidecar import Sidecar, command
from tests.support.waiting import DEADLINE_S, wait_for

GOOD = 'a_total{x="1"} 5\na_total{x="2"} 6\nb 7\n'
TYPES = """\
# HELP req_seconds How long \\\\ requests \\n take.
# TYPE req_seconds histogram
req_seconds_bucket{le="0.5"} 1
req_seconds_bucket{le="1"} 3
req_seconds_bucket{le="+Inf"} 4
req_seconds_sum 2.5
req_seconds_count 4
# TYPE rpc summary
rpc{quantile="0"} 0.1
rpc{quantile="0.99"} NaN
rpc_sum 10
rpc_count 3
# TYPE hits counter
hits 1e3
# TYPE hits_total counter
hits_total 12
# TYPE temp gauge
temp -273.15
# TYPE thing untyped
thing 1
"""
METRICS = """\
# HELP req Requests.
# TYPE req counter
req_total{a="x # {y=}"} 17.0 1520879607.789 # {trace_id="KOO5S4vxi0o"} 0.67
req_total{a="y"} 1e-3 # {t="a\\"b}"} 0.67 1520879607.789
req_created{a="y"} 1.5e9
# TYPE lat_seconds histogram
# UNIT lat_seconds seconds
lat_seconds_bucket{le="0.5"} 8 # {} 0.3
lat_seconds_bucket{le="+Inf"} 17 # {id="1"} 7
lat_seconds_count 17
lat_seconds_sum 324789.3
# TYPE build info
build_info{v="1"} 1
# TYPE state stateset
state{state="on"} 1
"""
NO_PAGES = [
    'a_total{x="1"} 5\na_to',
    "b",
    "b 1_000\n",
    "b 0x10\n",
    "b 1e999\n",
    "b nope\n",
    "b 1 2 3\n",
    "b 1 x\n",
    "b 1\r\n",
    "1b 1\n",
    'b{x="1" 5\n',
    "b{x=1} 5\n",
    'b{x="1\n',
    'b{="1"} 5\n',
    'b{x="1",x="2"} 5\n',
    "# TYPE b what\nb 1\n",
    "# TYPE b\nb 1\n",
    "  b 1\n",
    'b{x="1",,} 8\n',
]
NO_METRICS = [
    "b 1\n",
    "b 1\n# EOF\nc 2\n",
    "b 1\n\n# EOF\n",
    "b  1\n# EOF\n",
    "b 1\n# comment\n# EOF\n",
    "# TYPE b_s gauge\n# UNIT b_s m\nb_s 1\n# EOF\n",
    "b 1 # {x=1} 2\n# EOF\n",
    "b 1 x\n# EOF\n",
    " b 1\n# EOF\n",
    'b{x="1", y="2"} 1\n# EOF\n',
    "b 1 # {}\n# EOF\n",
    "# HELP b\nb 1\n# EOF\n",
    "# TYPE b untyped\nb 1\n# EOF\n",
    "b 1\n# EOF\n\n",
]
# What Prometheus 2 refuses and Prometheus 3 takes, as we do.
SINCE_3 = [
    page('b{x="1",} 2\n# EOF\n', OPENMETRICS),
    page('b 1 # {x="1"} 2\n# EOF\n', OPENMETRICS),
    page('{"b.c","x.y"="1"} 2\n# EOF\n', OPENMETRICS),
    page('{"b.c","x.y"="1"} 2\n'),
]
SPACES = [
    "  b   1  \n",
    "\tb\t2\t\n",
    'b {x="1"} 3\n',
    'b{ x="1" } 4\n',
    'b{x = "1"} 5\n',
    'b{x="1" ,y="2"} 6\n',
    'b{x="1", y="2"} 7\n',
    'b{x="1",} 8\n',
    'b{x="1",,} 8\n',
    "b{,} 8\n",
    'b{,x="1"} 8\n',
    "b{} 9\n",
    'b{x="1"}10\n',
    "b 11 5 \n",
    "\n\n  \nb 12\n",
    "#\n#b\n# b\n  # HELP b x\nb 13\n",
    "# HELP b\nb 14\n",
    "# HELP  b   text  \nb 15\n",
    "#\tHELP\tb\ttext\nb 16\n",
    "# HELPb text\nb 17\n",
    "# HELP\nb 17\n",
    "# HELP 1b\nb 17\n",
    "#HELP 1b\nb 17\n",
    "# TYPE b  gauge\nb 18\n",
    "# TYPE b gauge \nb 19\n",
    "b\t20\n",
    "b 21\t22\n",
    "b 23\n#",
    "b 24\n# EOF\n",
]

SEQUENCES: dict[str, list[Answer]] = {
    "types": [page(TYPES), page(TYPES.replace("4\n", "9\n")), page(TYPES.replace("temp -273.15\n", ""))],
    "series": [
        page(GOOD),
        page(GOOD.replace("6", "6.5")),
        page('a_total{x="1"} 5\nc 1\n'),
        page('c 2\nb 9\na_total{x="1"} 5\n'),
        page(GOOD),
        page(""),
        page(GOOD),
    ],
    "duplicates": [
        page('b 1\nb 2\nc{x="1",y="2"} 1\nc{y="2",x="1"} 2\n'),
        page('b 3\nb 2\nc{x="1",y="2"} 3\nc{y="2",x="1"} 4\n'),
        page('c{y="2",x="1"} 5\nb 4\nb 5\n'),
    ],
    "clashes": [
        page('b{job="x"} 1\nb{instance="y",job="z"} 2\nb{job="z",exported_job="w"} 3\nb{job=""} 4\nb{x=""} 5\n'),
        page('b{job="x"} 1.5\n'),
        page('up 5\nb{x=""} 1\nb 2\n'),
    ],
    "values": [
        page("a NaN\nb +Inf\nc -Inf\nd Inf\ne 1e-320\nf 0.1e1\ng -0\nh .5\ni 5.\n"),
        page("j +3e+2\nk nan\nl inf\nm 123456789012345678\nn infinity\n"),
        page("a 1\nb NaN\nc NaN\nd 0\ne 5e-324\nf 1.7976931348623157e308\ng 0\nh NaN\n"),
        page("a 1 1395066363000\nb 2 1395066363001\n"),
        page("a 2 1395066363000\nb 2\n"),
        page("b 2\na 2 -1395066363000\n"),
    ],
    "spaces": [page(text + "z 1\n") for text in SPACES[::2]],
    "more spaces": [page(text + "z 1\n") for text in SPACES[1::2]],
    "escapes": [
        page('b{x="a\\\\b\\"c\\nd\\te", y="}{ ,=# 1"} 1\nc{x="ü€😀"} 2\nd:e_ 3'),
        page('b{x="a\\\\b\\"c\\nd\\te", y="}{ ,=# 1"} 5\nc{x="ü€😀"} 6 7\nd:e_ 8'),
    ],
    "line breaks": [
        page('b{x="1\n2"} 1\nc{x="\n\n",y="a\\"\nb\n"} 2\n# HELP c a "\n# TYPE c gauge\nd{x="\n# HELP d"} 3\n'),
        page('b{x="1\n2"} 4\nc{x="\n\n",y="a\\"\nb\n"} 5\n# HELP c a "\n# TYPE c gauge\nd{x="\n# HELP d"} 6\n'),
        page('b 1\nc{x="1\\\n2"} 2\n'),
        page('b 1\nc{x="1\n# HELP c"\n} 2\n'),
        page('b 1\nc{x="1\nb{x="2"} 2\n'),
        page('b 1\nc{x="1"} 2\nd{x="\n'),
    ],
    "bytes": [
        Answer(b'# HELP b x\n# g\xe9n\xe9r\xe9\n \t#\xff\nb{x="\xc3\xa9"} 1\n'),
        Answer(b"b 1\n#\xff"),
        Answer(b"# HELP b \xff\nb 1\n"),
        Answer(b'b 1\nc{x="\xff"} 2\n'),
        Answer(b"b 1\nc\xff 2\n"),
        Answer(b"b \xff\n"),
        page("# HELP b a\x00b\nb 1\nc 2\n"),
        page('b{x="\x00"} 1\nc 2\n'),
        page("b 1\nc 2 3\x00\n"),
    ],
    "failures": [
        page(GOOD),
        Answer(GOOD.encode(), status=500),
        page(GOOD),
        Answer(GOOD.encode(), how="short"),
        page(GOOD),
        Answer(b"", how="cut"),
        page(GOOD),
        Answer(b"", how="hang"),
        page(GOOD),
        Answer(GOOD.encode() * 5, how="drip"),
        page(GOOD),
        Answer(GOOD.encode(), how="redirect"),
        Answer(GOOD.encode(), gzipped=True),
        Answer(b'b{x="\xff"} 1\n'),
        page(GOOD, "nonsense"),
        page(GOOD, "application/json; charset=utf-8"),
    ],
    "openmetrics": [
        page(METRICS + "# EOF\n", OPENMETRICS),
        page(METRICS.replace("17", "18") + "# EOF", OPENMETRICS),
        page(METRICS, OPENMETRICS),
        page(METRICS.replace("17", "19") + "# EOF\n", OPENMETRICS),
        page("# EOF\n", OPENMETRICS),
        page(GOOD),
        page(GOOD + "# EOF\n", OPENMETRICS),
        page("", OPENMETRICS),
    ],
    "no pages": [*map(page, NO_PAGES[:10]), page(GOOD)],
    "no pages either": [answer for text in NO_PAGES[10:] for answer in (page(text), page(GOOD))],
    "since 3": SINCE_3,
    "no metrics": [*(page(text, OPENMETRICS) for text in NO_METRICS), page(GOOD)],
}
NODE_PAGES = 5

REPORT = re.compile(r'"__name__": "(up|scrape_\w+)"')


class Api(NamedTuple):
    """A query API."""

    url: str

    def query(self, expr: str, **parameters: Any) -> list[Any]:
        form = urllib.parse.urlencode({"query": expr, **parameters})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{form}", timeout=DEADLINE_S) as response:
            result: list[Any] = json.load(response)["data"]["result"]
        return result

    def scrapes(self, job: str) -> list[float]:
        """The time of each scrape of a job."""
        result = self.query(f'up{{job="{job}"}}[10m]')
        return [t for t, _ in result[0]["values"]] if result else []

    def seen(self, job: str, at: float) -> dict[str, str]:
        """All of a job's series at a time, but for how long the scrape took."""
        vector = self.query(f'{{job="{job}",__name__!="scrape_duration_seconds"}}', time=f"{at:.3f}")
        return {json.dumps(series["metric"], sort_keys=True): series["value"][1] for series in vector}


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
        body: bytes = response.read()
    return body


@pytest.fixture(scope="module")
def sequences() -> dict[str, list[Answer]]:
    """What is replayed: the above, and what Debian's node_exporter has just said five times."""
    program("prometheus-node-exporter")
    with node_exporter() as exporter:
        url = f"{exporter.url}/metrics"
        return {**SEQUENCES, "node": [Answer(fetch(url)) for _ in range(NODE_PAGES)]}


@contextmanager
def replayed(sequences: dict[str, list[Answer]], interval: str) -> Iterator[tuple[Api, Api]]:
    """A real Prometheus and a sidecar that have scraped all sequences to their end."""
    paths = {name: f"/{name.replace(' ', '-')}" for name in sequences}
    with Replay({paths[name]: answers for name, answers in sequences.items()}) as replay:
        jobs = [
            {
                "job_name": name,
                "metrics_path": paths[name],
                "honor_timestamps": False,
                "static_configs": [{"targets": [replay.address]}],
            }
            for name in sequences
        ]
        config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}
        targets = [f"--scrape={name}=http://{replay.address}{path}" for name, path in paths.items()]
        flags = [f"--interval.scrape={interval}", *targets]
        with Sidecar(flags=flags) as sidecar, prometheus(json.dumps(config)) as peer:
            for name, path in paths.items():
                for client in ("Prometheus", "prom_probe"):
                    asked = partial(replay.has_asked, path, client, len(sequences[name]) + 1)
                    wait_for(f"{client}'s scrapes of {name}", peer.unless_ended(asked))
            yield Api(peer.url), Api(sidecar.api)


def in_time(api: Api, sequences: dict[str, list[Answer]], interval_s: float) -> bool:
    """Whether the machine was quick enough for every answer that is not held back."""
    for name, answers in sequences.items():
        (series,) = api.query(f'scrape_duration_seconds{{job="{name}"}}[10m]')
        for answer, (_, took) in zip(answers, series["values"], strict=False):
            if answer.how not in ("hang", "drip") and float(took) > 0.8 * interval_s:
                return False
    return True


@pytest.fixture(scope="module")
def both(sequences: dict[str, list[Answer]]) -> Iterator[tuple[Api, Api]]:
    """The two after their scrapes: at longer intervals, which are timeouts too, where the machine is slow."""
    program("prometheus")
    for interval, interval_s in (("500ms", 0.5), ("2s", 2.0), ("7s", 7.0)):
        with replayed(sequences, interval) as apis:
            if all(in_time(api, sequences, interval_s) for api in apis):
                yield apis
                return
    pytest.fail("no interval is long enough for this machine")


def as_prometheus_3(series: dict[str, str]) -> dict[str, str]:
    """What Prometheus 2 has stored, with bounds as Prometheus 3 writes them."""
    found = {}
    for text, value in series.items():
        labels = json.loads(text)
        for name in {"le", "quantile"} & labels.keys():
            if re.fullmatch("[0-9]+", labels[name]):
                labels[name] += ".0"
        found[json.dumps(labels, sort_keys=True)] = value
    return found


def test_what_prometheus_3_takes_is_taken(both: tuple[Api, Api]) -> None:
    """The Prometheus beside us is of the time before."""
    up = [[value for _, value in api.query('up{job="since 3"}[10m]')[0]["values"][: len(SINCE_3)]] for api in both]
    assert up == [["0"] * len(SINCE_3), ["1"] * len(SINCE_3)]


@pytest.mark.parametrize("name", [*(name for name in SEQUENCES if name != "since 3"), "node"])
def test_what_is_stored_is_what_prometheus_stores(
    name: str, both: tuple[Api, Api], sequences: dict[str, list[Answer]]
) -> None:
    """Scrape by scrape: series, labels, values, what has ended, and what Prometheus says of the scrape.

    Of a page that it gives up in the middle, Prometheus forgets to end the series before; we end all.
    """
    theirs, ours = both
    answers = sequences[name]
    times = [api.scrapes(name)[: len(answers)] for api in both]
    for number, (answer, their_time, our_time) in enumerate(zip(answers, *times, strict=True)):
        expected = as_prometheus_3(theirs.seen(name, their_time))
        assert len(expected) >= 4
        report = {series: value for series, value in expected.items() if REPORT.search(series)}
        if any(value == "0" for series, value in report.items() if '"up"' in series):
            expected = report
        assert ours.seen(name, our_time) == expected, f"scrape {number}: {str(answer)[:500]}"


APP = """
import sys
from prometheus_client import Counter, Gauge, Histogram, start_http_server
hits = Counter("hits", "Hits.", ["kind"])
seconds = Histogram("work_seconds", "Work.")
Gauge("job", "A label that clashes.", ["job"]).labels("mine").set(5)
_, thread = start_http_server(int(sys.argv[1]), "127.0.0.1")
for line in sys.stdin:
    hits.labels("a").inc(int(line))
    seconds.observe(0.3)
"""


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class UnixPage(BaseHTTPRequestHandler):
    """One page over a Unix socket."""

    def do_GET(self) -> None:
        body = f'told{{path="{self.path}"}} 1\n'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_real_applications_are_scraped(tmp_path: Path) -> None:
    """A prometheus_client application, Debian's node_exporter and a Unix socket, each second, and one that ends."""
    program("prometheus-node-exporter")
    app_at = f"127.0.0.1:{free_port()}"
    unix = tmp_path / "app.sock"
    server = UnixServer(str(unix), UnixPage)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    app = subprocess.Popen([sys.executable, "-c", APP, app_at.partition(":")[2]], stdin=subprocess.PIPE, text=True)
    flags = [f"--scrape=app=http://{app_at}", f"--scrape=sock=unix:{unix}"]
    flags.append("--scrape.expose=hits.*|work_seconds|go_info|process_start_time_seconds")
    try:
        with node_exporter() as node, Sidecar(flags=[*flags, f"--scrape=node={node.url}/metrics"]) as sidecar:
            wait_for("all are up", lambda: sidecar.value("sum(up)") == 3)
            at_first = sidecar.stderr.count("cannot be scraped")  # whoever listened late
            assert app.stdin is not None
            for _ in range(3):
                print(2, file=app.stdin, flush=True)
            hits = f'hits_total{{job="app",instance="{app_at}",kind="a"}}'
            wait_for("the hits", lambda: sidecar.value(hits) == 6)
            assert sidecar.value('work_seconds_count{job="app"}') == 3
            assert sidecar.value(f'job{{job="app",instance="{app_at}",exported_job="mine"}}') == 5
            assert sidecar.value(f'told{{job="sock",instance="{unix}",path="/metrics"}}') == 1
            assert sidecar.value('node_load1{job="node"}') is not None
            stored = 'count by (job) ({job="node",__name__!~"up|scrape_.*"})'  # of one page: the next may have more
            assert sidecar.value(f'{stored} - on (job) scrape_samples_scraped{{job="node"}}') == 0
            # On /metrics what was chosen, by its own labels, but for what two targets have; up is nobody else's.
            wait_for("/metrics", lambda: sidecar.metric("hits_total", kind="a") == 6)
            shown = sidecar.metrics()
            assert shown["work_seconds_bucket", frozenset({("le", "0.5")})] == 3
            names = {name for name, _ in shown}
            assert "go_info" in names and not {"up", "node_load1", "told", "scrape_duration_seconds"} & names
            starts = {labels for name, labels in shown if name == "process_start_time_seconds"}
            assert starts == {frozenset({("job", "app")}), frozenset({("job", "node")})}
            os.kill(sidecar.worker("scrape"), signal.SIGKILL)
            print(2, file=app.stdin, flush=True)
            wait_for("the next worker's samples", lambda: sidecar.value(hits) == 8)
            wait_for("the same on /metrics", lambda: sidecar.metric("hits_total", kind="a") == 8)
            app.kill()
            wait_for("it is down", lambda: sidecar.value('up{job="app"}') == 0)
            assert sidecar.query('{job="app",__name__!~"up|scrape_.*"}') == []
            assert sidecar.value('up{job="node"}') == 1
            assert (sidecar.metric("prom_probe_target_scrape_failures_total", target="app", reason="connect") or 0) >= 1
            assert sidecar.metric("hits_total", kind="a") is None
            assert sidecar.stderr.count("cannot be scraped") == at_first + 1
    finally:
        app.kill()
        app.wait()
        server.shutdown()
        server.server_close()


def send_100_mb(sock: socket.socket, request: bytes) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(1000):
        sock.sendall(b"a 1\n" * 25_000)


def say_nothing(sock: socket.socket, request: bytes) -> None:
    sock.recv(1)


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


BAD: dict[str, tuple[bytes | Callable[[socket.socket, bytes], None], str]] = {
    "huge": (send_100_mb, "size"),
    "half": (sized(b"a 1\nb_to"), "parse"),
    "short": (lambda sock, request: sock.sendall(sized(b"a 1\n")[:-2]), "http"),
    "nothing": (say_nothing, "timeout"),
    "error": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "http"),
    "alien": (b"SSH-2.0-OpenSSH_9\r\n", "http"),
    "many": (sized(b"".join(b"a%d 1\n" % i for i in range(20_000))), "samples"),
}


def has_failed(sidecar: Sidecar, key: tuple[str, frozenset[tuple[str, str]]]) -> bool:
    return sidecar.metrics().get(key, 0) >= 3


def test_bad_targets_cost_their_own_samples_only() -> None:
    """Beside targets that send 100 MB, half a line, nothing, ..., a good one is scraped at each beat."""
    good = Peer(sized(b"fine 1\n"))
    bad = {name: Peer(answer) for name, (answer, _) in BAD.items()}
    flags = [f"--scrape={name}={peer.url}" for name, peer in bad.items()]
    try:
        with Sidecar(flags=[*flags, f"--scrape=good={good.url}"]) as sidecar:
            wait_for("the good one", lambda: sidecar.value('fine{job="good"}') == 1)
            for name, (_, reason) in BAD.items():
                key = ("prom_probe_target_scrape_failures_total", frozenset({("target", name), ("reason", reason)}))
                wait_for(f"{name} fails of {reason}", partial(has_failed, sidecar, key))
            assert sidecar.value("sum(up)") == 1
            assert sidecar.query('{job!="good",job!="",__name__!~"up|scrape_.*"}') == []
            assert sidecar.value('min_over_time(up{job="good"}[1m])') == 1
            assert sidecar.metric("prom_probe_worker_restarts_total", worker="scrape") == 0
            assert sidecar.stderr.count("cannot be scraped") == len(BAD)
            active = json.loads(sidecar.get("/api/v1/targets")[1])["data"]["activeTargets"]
            told = {target["scrapePool"]: target["lastError"] for target in active}
            assert told["good"] == "" and told["half"] == "line 2: neither a sample nor a comment: 'b_to'"
            for name in BAD:
                assert told[name] and f"cannot be scraped: {told[name]}" in sidecar.stderr.replace("\\", ""), name
    finally:
        for peer in (good, *bad.values()):
            peer.close()


def gone(sidecar: Sidecar, target: str) -> bool:
    """Whether nothing on /metrics, nor among the series that live, tells of a target any more."""
    told = any(target in (labels.get("target"), labels.get("collector")) for labels in label_sets(sidecar))
    return not told and sidecar.query(f'{{job="{target.removeprefix("scrape:")}"}}') == []


def label_sets(sidecar: Sidecar) -> list[dict[str, str]]:
    return [dict(labels) for _, labels in sidecar.metrics()]


def test_without_targets_there_is_nothing_of_it() -> None:
    """No worker, no series, no library; what counts our own readings of /metrics is another thing."""
    with Sidecar(flags=["--interval=200ms"]) as sidecar:
        wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
        assert sidecar.worker("scrape") == 0
        assert not any("scrape" in value for labels in label_sets(sidecar) for value in labels.values())
        names = {name for name, _ in sidecar.metrics() if "scrape" in name}
        assert all(name.startswith("prom_probe_scrape_duration_seconds") for name in names)


def test_a_reload_adds_changes_and_removes_targets(tmp_path: Path) -> None:
    """From none to two to none and back: nobody counts as restarted, and what is removed is as if it had never been."""
    one, two = Peer(sized(b"fine 1\n")), Peer(sized(b"fine 2\n"))
    file = tmp_path / "settings.yml"

    def write(*targets: str) -> None:
        file.write_text(f"interval: 200ms\nscrape.expose: fine\nscrape: {json.dumps(targets)}\n")
        os.kill(sidecar.process.pid, signal.SIGHUP)

    try:
        file.write_text("interval: 200ms\n")
        with Sidecar(flags=[f"--config.file={file}"]) as sidecar:
            wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
            write(f"a={one.url}")
            wait_for("a is added", lambda: sidecar.metric("fine") == 1)
            wait_for("its worker is told of", lambda: sidecar.metric("prom_probe_worker_up", worker="scrape") == 1)
            write(f"a={two.url}")
            wait_for("a has changed", lambda: sidecar.metric("fine") == 2)
            wait_for("its old series has ended", lambda: len(sidecar.query('up{job="a"}')) == 1)
            assert sidecar.value('fine{job="a"}') == 2
            write(f"b={one.url}")
            wait_for("b is there", lambda: sidecar.value('fine{job="b"}') == 1)
            wait_for("a is removed", partial(gone, sidecar, "scrape:a"))
            assert gone(sidecar, "a")
            write()
            wait_for("b is removed", partial(gone, sidecar, "scrape:b"))
            wait_for("the worker ends", lambda: not sidecar.worker("scrape"))
            wait_for("and is forgotten", lambda: sidecar.metric("prom_probe_worker_up", worker="scrape") is None)
            assert sidecar.metric("fine") is None
            write(f"b={two.url}")
            wait_for("b is back", lambda: sidecar.metric("fine") == 2)
            wait_for("its runs", lambda: sidecar.metric("prom_probe_collector_runs_total", collector="scrape:b"))
            file.write_text("scrape: [b=http://h, b=http://i]\n")
            os.kill(sidecar.process.pid, signal.SIGHUP)
            fault = "line 1: scrape: two targets are called 'b'; each needs a name of its own"
            wait_for("the fault is told", lambda: fault in sidecar.stderr)
            assert sidecar.metric("fine") == 2
            restarts = {v for (name, _), v in sidecar.metrics().items() if name == "prom_probe_worker_restarts_total"}
            assert restarts == {0}
    finally:
        one.close()
        two.close()


def test_a_killed_aggregator_goes_on_with_targets_that_a_reload_has_added(tmp_path: Path) -> None:
    """Its successor knows their ring too."""
    peer = Peer(sized(b"fine 1\n"))
    file = tmp_path / "settings.yml"
    file.write_text("interval: 200ms\n")
    try:
        with Sidecar(flags=[f"--config.file={file}"]) as sidecar:
            wait_for("the system", lambda: sidecar.metric("prom_probe_worker_up", worker="system") == 1)
            file.write_text(f"interval: 200ms\nscrape: a={peer.url}\n")
            os.kill(sidecar.process.pid, signal.SIGHUP)
            wait_for("a is added", lambda: sidecar.value('fine{job="a"}') == 1)
            os.kill(sidecar.worker("aggregator"), signal.SIGKILL)
            wait_for("a is there again", lambda: sidecar.value('fine{job="a"}') == 1)
    finally:
        peer.close()


def test_once_reads_targets_too() -> None:
    """Their series, and by how much their counters grew."""
    peer = Peer(*(sized(b"# TYPE n_total counter\nn_total %d\n" % n) for n in (1, 2, 100)))
    try:
        done = command("once", f"--scrape=app={peer.url}", "--interval=2s", "--json")
        assert done.returncode == 0, done.stderr
        found = {row["name"]: row for row in json.loads(done.stdout) if row["labels"].get("job") == "app"}
        assert found["up"]["value"] == 1
        assert found["n_total"]["value"] == 100 and found["n_total"]["per_second"] > 0
    finally:
        peer.close()
