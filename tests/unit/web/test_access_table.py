"""docs/security.md's table of paths and clients, row by row against the server."""

from __future__ import annotations

import asyncio

import pytest

from prom_probe.tsdb.store import Store
from prom_probe.web.context import About
from prom_probe.web.routes import ROUTES, Route
from tests.support.paths import ROOT
from tests.support.web_harness import serving

# Where the API listens, and a Host by which a program names it.
_LISTENERS = {"web": "any.example", "api on loopback": "127.0.0.1:1", "api on the network": "10.1.2.3:1"}
_CLIENTS = {
    "program": {},
    "page": {"Origin": "https://evil.example"},
    "page of another port": {"Origin": "http://127.0.0.1:3000"},
    "page without an origin of its own": {"Origin": "null"},
    "image of a page": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "rebound": {"Host": "evil.example:1"},
    "rebound, of that origin": {"Host": "evil.example:1", "Origin": "http://evil.example:1"},
}


def _rows() -> dict[str, tuple[bool, ...]]:
    """Path -> whether it is served at --web, at --api, and answers a program, a page, a rebound name there."""
    lines = (ROOT / "docs/security.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `/")]
    for row in cells:
        assert set(row[1:6]) <= {"yes", "no"}, row
    return {row[0].strip("`"): tuple(cell == "yes" for cell in row[1:6]) for row in cells}


def test_every_route_has_a_row() -> None:
    """In the routes' order."""
    assert list(_rows()) == [route.path for route in ROUTES]


def _reload() -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("")
    return future


@pytest.mark.parametrize("listener", _LISTENERS)
def test_rows(listener: str) -> None:
    """Each route, by each kind of client, with each of its methods but OPTIONS."""
    api, rows = listener != "web", _rows()
    with serving(
        Store(), api=api, loopback=listener != "api on the network", remote_write=True, about=About({}, reload=_reload)
    ) as site:
        for route in ROUTES:
            at_web, at_api, program, page, rebound = rows[route.path]
            assert route.path == "/metrics" or not page or not route.api
            for client, headers in _CLIENTS.items():
                may = {"p": program if client == "program" else page, "i": page, "r": rebound}[client[0]]
                wanted = (at_api and may) if api else at_web
                for method in _methods(route):
                    target = route.path.replace(":name", "page.css" if route.path.startswith("/static") else "job")
                    status = site.ask(
                        target, method=method, body=b"", **{"Host": _LISTENERS[listener], **headers}
                    ).status
                    answered = status not in (401, 403, 404)
                    assert answered == wanted, (listener, route.path, method, client, status)


def _methods(route: Route) -> list[str]:
    return [method for method in route.methods if method != "OPTIONS"]
