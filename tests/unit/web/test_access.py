"""Which Host and Origin may reach the API, over a real socket."""

from __future__ import annotations

import pytest

from tests.support.web_harness import FakeStore, rows, serving, stored


@pytest.fixture(scope="module")
def site() -> object:
    with serving(FakeStore(rows())) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:19991", True),
        ("127.0.0.1:1", True),
        ("127.1.2.3", True),
        ("[::1]", True),
        ("[::1]:19991", True),
        ("sidecar:19991", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False),
        ("127.0.0.256", False),
        ("", True),
    ],
)
def test_a_loopback_api_is_called_by_loopback_names_only(host: str, allowed: bool) -> None:
    """So that no web page can read it by DNS rebinding; `/metrics` and health do not check."""
    with serving(FakeStore(rows()), allowed_hosts=["Sidecar"]) as site:
        assert site.ask("/api/v1/status/buildinfo", Host=host).status == (200 if allowed else 403)
        assert site.ask("/metrics", Host=host).status == 200
        assert site.ask("/-/healthy", Host=host).status == 200


@pytest.mark.parametrize("loopback", [True, False])
def test_a_refused_host_says_which_flag_allows_it(loopback: bool) -> None:
    """And with that flag it is taken."""
    with serving(FakeStore(), loopback=loopback) as site:
        reply = site.ask("/api/v1/status/buildinfo", Host="Probe.Monitoring:19991")
    assert reply.status == 403
    assert reply.text == (
        "Host 'Probe.Monitoring:19991' is not allowed here; --api.allowed-host=probe.monitoring allows it.\n"
    )
    with serving(FakeStore(), loopback=loopback, allowed_hosts=["probe.monitoring"]) as site:
        assert site.ask("/api/v1/status/buildinfo", Host="Probe.Monitoring:19991").status == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://localhost:3000", "localhost:3000", 200),
        ("HTTP://LocalHost", "localhost:80", 200),
        ("https://[::1]", "[::1]:443", 200),
        ("http://localhost:3000", "localhost", 403),
        ("http://localhost:3000", "localhost:3001", 403),
        ("https://localhost:3000", "localhost:80", 403),
        ("http://127.0.0.1", "localhost", 403),
        ("https://evil.example", "localhost", 403),
        ("null", "localhost", 403),
        ("file://", "", 403),
        ("http://", "", 403),
    ],
)
@pytest.mark.parametrize("loopback", [True, False])
def test_origins(origin: str, host: str, status: int, loopback: bool) -> None:
    """A page of another origin, another port's included, cannot even make us work, wherever we listen."""
    with serving(FakeStore(), loopback=loopback) as site:
        assert site.ask("/api/v1/status/buildinfo", Origin=origin, Host=host).status == status


@pytest.mark.parametrize(
    ("method", "site_header", "mode", "status"),
    [
        ("GET", "cross-site", "no-cors", 403),
        ("GET", "same-site", "no-cors", 403),
        ("GET", "cross-site", "navigate", 200),
        ("GET", "same-origin", "cors", 200),
        ("GET", "none", "navigate", 200),
        ("POST", "cross-site", "navigate", 403),
        ("POST", "same-site", "navigate", 403),
        ("POST", "same-origin", "navigate", 200),
    ],
)
def test_pages_that_name_no_origin(method: str, site_header: str, mode: str, status: int) -> None:
    """An image or a script of another page's, or its form; a link to us may be followed."""
    fetch = {"Sec-Fetch-Site": site_header, "Sec-Fetch-Mode": mode}
    with serving(stored()) as site:
        assert site.ask("/api/v1/query?query=1", method=method, body=b"", **fetch).status == status


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://evil.example/api/v1/status/buildinfo", "localhost", 403),
        ("HTTPS://localhost:1/api/v1/status/buildinfo", "evil.example", 200),
        ("http://user@localhost/api/v1/status/buildinfo", "localhost", 400),
        ("http:///api/v1/status/buildinfo", "evil.example", 200),
        ("http://localhost?a/../", "localhost", 200),
    ],
)
def test_an_absolute_target_replaces_host(target: str, host: str, status: int) -> None:
    """As RFC 9112 has it in 3.2.2."""
    with serving(FakeStore(rows())) as site:
        assert site.ask(target, Host=host).status == status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.\u00b2", "localhost:\u00b2", "localhost:evil", "a b", "a/b", "a@b", "[::1", "[::1]x", "a,b", "a:123456"],
)
@pytest.mark.parametrize("target", ["/metrics", "/api/v1/status/buildinfo"])
def test_what_is_no_host(host: str, target: str) -> None:
    """400, whoever serves it."""
    with serving(FakeStore(rows())) as site:
        assert site.ask(target, Host=host).status == 400


def test_other_origins_read_only_where_that_is_configured() -> None:
    """CORS is off, and on for the origins that the expression matches as a whole."""
    with serving(FakeStore()) as site:
        assert "access-control-allow-origin" not in site.ask("/-/healthy", Origin="http://localhost:3000").headers
    with serving(FakeStore(), cors_origin=r"https://grafana\.example") as site:
        reply = site.ask("/api/v1/status/buildinfo", Origin="https://grafana.example")
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://grafana.example")
        assert site.ask("/api/v1/query", method="OPTIONS", Origin="https://grafana.example").status == 204
        refused = site.ask("/api/v1/status/buildinfo", Origin="https://grafana.example.evil")
        assert refused.status == 403 and "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("10.1.2.3:19991", 200), ("[2001:db8::1]:19991", 200), ("localhost", 200), ("sidecar:19991", 200)),
        *(("probe.monitoring.svc:19991", 200), ("probe.ns.svc.cluster.local", 200), ("machine.local.", 200)),
        *(("evil.example", 403), ("10.1.2.3.evil.example", 403), ("svc.evil.example", 403), ("allowed.example", 200)),
        *(("10.1.2.300", 403), ("127.0.0.1.", 200)),
    ],
)
def test_an_api_on_the_network_takes_no_registered_name(host: str, status: int) -> None:
    """Its addresses, and names that nobody can register, so that no page can have given it one; others by a flag."""
    with serving(FakeStore(rows()), loopback=False, allowed_hosts=["allowed.example"]) as site:
        assert site.ask("/api/v1/status/buildinfo", Host=host).status == status
        assert site.ask("/metrics", Host=host).status == 200
    with serving(FakeStore(rows()), loopback=False, allowed_hosts=["*"]) as site:
        assert site.ask("/api/v1/status/buildinfo", Host=host).status == 200
