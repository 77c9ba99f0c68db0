"""The API's answers beside a real Prometheus's, request by request: data, and what is wrong, in the same words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from prom_probe.model.labels import make_labels
from tests.support.peers import Peer, encode_write, prom_probe, prometheus
from tests.support.programs import program
from tests.support.waiting import wait_for

END_S = int(time.time()) // 60 * 60 - 60
START_S = END_S - 600
RANGE = "start=START&end=END"  # what stands for a time has the same name each day
NAMES = ("a_total", "b_bytes", "c")


@pytest.fixture(scope="module")
def peers() -> Iterator[tuple[Peer, Peer]]:
    """Ours and theirs, with the same samples."""
    program("prometheus")
    with ExitStack() as stack:
        found = stack.enter_context(prom_probe(True)), stack.enter_context(prometheus())
        times = range(START_S * 1000, END_S * 1000 + 1, 15_000)
        series = [
            (make_labels(name, {"job": f"j{i % 2}", "instance": f"host-{i}:80", "odd": 'a"b\\c'}), times, values)
            for name in NAMES
            for i in range(4)
            for values in ([float(i + n) for n in range(len(times))],)
        ]
        for peer in found:
            peer.write(encode_write(series))
            wait_for("the samples", partial(has_samples, peer))
        yield found


def ask(peer: Peer, path: str) -> tuple[int, Any]:
    """Status and JSON; the text of what is no JSON."""
    for word, value in (("RFC", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(END_S))), ("LATER", END_S + 5)):
        path = path.replace(word, str(value))
    path = path.replace("START", str(START_S)).replace("END", str(END_S))
    status, body = peer.get(f"/api/v1{path}")
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()


def has_samples(peer: Peer) -> bool:
    return bool(ask(peer, f"/query?query=count(a_total)&time={END_S}")[1]["data"]["result"])


def matching(*matchers: str) -> str:
    return "&".join(f"match[]={quote(one)}" for one in matchers)


ONLY = '{__name__=~"a_total|b_bytes|c"}'  # not what each has of itself

ANSWERS = [
    "/query?query=1&time=END",
    "/query?query=%22text%22&time=END",
    "/query?query=a_total&time=END",
    "/query?query=a_total%5B1m%5D&time=LATER",  # Prometheus 2 takes the sample on the edge too
    "/query?query=sum(rate(a_total%5B1m%5D))&time=END.5",
    "/query?query=c&time=RFC",
    "/query?query=nothing&time=END",
    f"/query_range?query=a_total&{RANGE}&step=60",
    f"/query_range?query=a_total&{RANGE}&step=1m30s",
    f"/query_range?query=1/0&{RANGE}&step=5m",
    f"/query_range?query=nothing&{RANGE}&step=60",
    f"/series?{matching('a_total')}&{RANGE}",
    f"/series?{matching('a_total', 'b_bytes')}&{RANGE}",
    f"/series?{matching('nothing')}&{RANGE}",
    f"/labels?{matching(ONLY)}&{RANGE}",
    f"/labels?{matching('c')}&{RANGE}",
    f"/label/job/values?{matching(ONLY)}&{RANGE}",
    f"/label/odd/values?{RANGE}",
    f"/label/__name__/values?{matching(ONLY)}&{RANGE}",
    f"/label/nothing/values?{RANGE}",
    f"/query_exemplars?query=a_total&{RANGE}",
    "/rules",
    "/alerts",
    "/alertmanagers",
    f"/format_query?query={quote('sum by(a)(rate(x[5m]))')}",
]

FAULTS = [
    "/query",
    "/query?query=",
    "/query?query=sum(",
    "/query?query=a_total%7B",
    "/query?query=a_total&time=yesterday",
    "/query?query=a_total&timeout=soon",
    "/query?query=rate(a_total)",
    "/query?query=nonsense(a_total)",
    f"/query?query={quote('{}')}",
    "/query?query=%7Ba%3D~%22(%22%7D",
    f"/query?query={quote('a_total + on (job) a_total')}&time=END",
    "/query_range?query=a_total",
    "/query_range?query=a_total&start=x&end=END&step=60",
    "/query_range?query=a_total&start=START&end=x&step=60",
    f"/query_range?query=a_total&{RANGE}",
    f"/query_range?query=a_total&{RANGE}&step=0",
    f"/query_range?query=a_total&{RANGE}&step=-5",
    f"/query_range?query=a_total&{RANGE}&step=x",
    "/query_range?query=a_total&start=END&end=START&step=60",
    "/query_range?query=a_total&start=0&end=END&step=60",
    f"/query_range?query=a_total%5B1m%5D&{RANGE}&step=60",
    f"/query_range?query=%22text%22&{RANGE}&step=60",
    "/series",
    f"/series?{matching('a_total{')}",
    f"/series?{matching('{}')}",
    f"/series?{matching('a_total')}&start=x",
    f"/series?{matching('a_total')}&end=x",
    f"/labels?{matching('{')}",
    "/labels?start=x",
    "/label/a-b/values",
    f"/label/job/values?{matching('{')}",
    "/label/job/values?end=x",
    "/query_exemplars?query=a_total&start=END&end=START",
    "/format_query?query=sum(",
    "/metadata?limit=x",
]

# What Prometheus 3 answers otherwise than Debian's 2, and we with it.
NEWER = {
    "/label/a-b/values": "any UTF-8 text is a label's name",
}


@pytest.mark.parametrize("path", ANSWERS)
def test_the_same_data(peers: tuple[Peer, Peer], path: str) -> None:
    """Status, data and its order."""
    (status, ours), (their_status, theirs) = (ask(peer, path) for peer in peers)
    assert (status, ours["status"]) == (their_status, theirs["status"]) == (200, "success")
    assert ours["data"] == theirs["data"]


@pytest.mark.parametrize("path", FAULTS)
def test_the_same_faults(peers: tuple[Peer, Peer], path: str) -> None:
    """Status and type; the text names the parameter as theirs does."""
    (status, ours), (their_status, theirs) = (ask(peer, path) for peer in peers)
    if path in NEWER:
        assert status == 200 != their_status
        return
    assert (status, ours.get("errorType")) == (their_status, theirs.get("errorType")), (ours, theirs)
    if theirs["error"].startswith("invalid parameter"):
        assert ours["error"].partition(":")[0] == theirs["error"].partition(":")[0]


def test_posts_are_answered_alike(peers: tuple[Peer, Peer]) -> None:
    """Grafana's way to ask."""
    form = urlencode({"query": "a_total", "time": END_S})
    answers = [peer.post("/api/v1/query", form) for peer in peers]
    assert json.loads(answers[0][1])["data"] == json.loads(answers[1][1])["data"]
