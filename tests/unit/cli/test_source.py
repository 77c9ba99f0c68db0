"""Sources: which one a name means, and what an API that answers oddly costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from prom_probe.cli.client import ApiSource
from prom_probe.cli.error import ClientError
from prom_probe.cli.main import cli
from prom_probe.cli.source import open_source
from prom_probe.cli.stored import StoredSource
from prom_probe.tsdb.disk import api_file, folder
from tests.support.http_peer import Peer
from tests.support.stored_runs import START_S, make_stored_run

Serve = Callable[[object], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers every request with this as the data; gives the URL."""
    peers = []

    def begin(answer: object) -> str:
        body = json.dumps({"status": "success", "data": answer, "warnings": ["w"]}).encode()
        peers.append(Peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)))
        return peers[-1].url.removesuffix("/metrics?a=b")

    yield begin
    for peer in peers:
        peer.close()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has kept two runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    parent = tmp_path / "prom-probe" / "runs"
    parent.mkdir(parents=True)
    for name in ("2026-11-30T10-00-00-old", "2026-11-30T11-00-00-new"):
        make_stored_run(parent / name, seconds=20)
    return parent


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("@last", "2026-11-30T11-00-00-new"),
        ("@1", "2026-11-30T11-00-00-new"),
        ("@2", "2026-11-30T10-00-00-old"),
        ("2026-11-30T10-00-00-old", "2026-11-30T10-00-00-old"),
    ],
)
def test_kept_runs_are_named_by_place_and_by_name(runs: Path, text: str, name: str) -> None:
    """Newest first; a directory is named by its path."""
    for source in (open_source(text), open_source(str(runs / name))):
        assert isinstance(source, StoredSource)
        assert source.path == str(runs / name)
        assert [process.pid for process in source.processes()] == [8, 7]


@pytest.mark.parametrize(
    ("text", "error"),
    [("@3", "@3: only 2 runs are kept"), ("@0", "no such source: '@0'"), ("none", "no such source: 'none'")],
)
def test_what_is_not_kept(runs: Path, text: str, error: str) -> None:
    """The way to what is there is named."""
    with pytest.raises(ClientError, match=error):
        open_source(text)


@pytest.mark.parametrize("url", ["http://localhost:9090", "https://host/prefix", "unix:/run/api.sock"])
def test_urls(url: str) -> None:
    """Nothing is asked until something is wanted."""
    source = open_source(url)
    assert isinstance(source, ApiSource) and source.url == url


def test_a_directory_in_use_is_asked_through_its_api(runs: Path) -> None:
    """As long as its lock is held; what was left of an earlier run does not count."""
    path = str(runs / "2026-11-30T11-00-00-new")
    api_file.write(path, "http://127.0.0.1:1")
    assert isinstance(open_source(path), StoredSource)
    writer = folder.open_to_write(path)
    try:
        source = open_source(path)
    finally:
        writer.close()
    assert isinstance(source, ApiSource) and source.url == "http://127.0.0.1:1"


def test_now_is_the_last_moment_of_a_run(runs: Path) -> None:
    """Instant queries find what was there."""
    source = open_source("@last")
    assert START_S + 19 <= source.now_s() <= START_S + 21
    assert source.stored_span() == (START_S + 1, START_S + 20.2)  # its staleness markers are the last
    assert json.loads(source.query("proctree_resident_memory_bytes", source.now_s()))["data"]["result"]


@pytest.mark.parametrize(
    ("head", "span"),
    [
        ({"minTime": 1000, "maxTime": 2500}, (1.0, 2.5)),
        ({"minTime": 9223372036854775807, "maxTime": -9223372036854775808}, None),
        ({}, None),
    ],
)
def test_the_span_of_an_api(serve: Serve, head: dict[str, int], span: tuple[float, float] | None) -> None:
    """An empty store says its least time is the largest number."""
    assert ApiSource(serve({"headStats": head})).stored_span() == span


@pytest.mark.parametrize("answer", [None, {}, [1], [{"pid": "x"}], "text"])
def test_an_api_of_something_else_is_an_error(serve: Serve, answer: object) -> None:
    """One line that names it, whatever it says."""
    with pytest.raises(ClientError, match=r"http://127.0.0.1:[0-9]+: the answer is not as the API has it"):
        ApiSource(serve(answer)).processes()


def test_warnings_are_told_beside_csv(serve: Serve) -> None:
    """On stderr, so that they are no row."""
    url = serve({"resultType": "vector", "result": [{"metric": {}, "value": [START_S, "1"]}]})
    done = CliRunner().invoke(cli, ["query", "1", f"--source={url}", "--format=csv", "--utc"])
    assert done.stdout == "time,value\n2023-11-14T22:13:20.000Z,1\n"
    assert done.stderr == "prom-probe: warning: w\n"
