"""The deployment's own proxy before a real centre: TLS, cookies, screens, who is asking, and who is too slow."""

import socket
import ssl
import time
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import lacking
from tests.integration.running_centre import TOKEN, Centre, on_fresh_ground
from tests.servers.caddy import Proxy, proxy_before
from tests.servers.postgres import PostgresServer
from tests.servers.processes import UnavailableError


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template, public_url="https://localhost") as made:
        yield made


@pytest.fixture(scope="module")
def proxy(centre: Centre) -> Iterator[Proxy]:
    try:
        with proxy_before(int(centre.base.rpartition(":")[2])) as made:
            yield made
    except UnavailableError as missing:
        lacking(missing)


@pytest.fixture(scope="module")
def trust(proxy: Proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(proxy.authority))


@pytest.fixture(scope="module")
def outside(proxy: Proxy, trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.base, verify=trust, timeout=60, http2=False) as client:
        yield client


def test_people_come_over_tls_only(proxy: Proxy, outside: httpx.Client) -> None:
    sent_on = httpx.get(f"{proxy.plain}/desk?x=1", follow_redirects=False, timeout=60)
    assert sent_on.status_code == 308
    assert sent_on.headers["location"].startswith("https://localhost")
    assert sent_on.headers["location"].endswith("/desk?x=1")
    refused = httpx.get(f"{proxy.plain}/api/devices", follow_redirects=False, timeout=60)
    assert (refused.status_code, refused.json()["status"]) == (403, 403), "a program is told, not led on"
    answer = outside.get("/healthz")
    assert answer.status_code == 200
    assert "includeSubDomains" in answer.headers["strict-transport-security"]
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    assert "caddy" not in str(answer.headers).lower()
    assert answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_old_tls_is_refused_and_http_2_is_spoken(proxy: Proxy, trust: ssl.SSLContext) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection(("localhost", proxy.https), timeout=60) as line,
    ):
        old.wrap_socket(line, server_hostname="localhost")
    new = ssl.create_default_context(cafile=str(proxy.authority))
    new.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("localhost", proxy.https), timeout=60) as line,
        new.wrap_socket(line, server_hostname="localhost") as spoken,
    ):
        assert spoken.selected_alpn_protocol() == "h2"
        assert spoken.version() in ("TLSv1.2", "TLSv1.3")


def test_a_log_in_is_a_secure_cookie_and_opens_the_screen(
    centre: Centre, proxy: Proxy, outside: httpx.Client, trust: ssl.SSLContext
) -> None:
    made = centre.client.post("/api/users", json={"name": "door", "role": "administrator"}).json()
    logged = outside.post("/api/session", json={"name": "door", "password": made["one_time_secret"]})
    assert logged.status_code == 200, logged.text
    cookie = logged.headers["set-cookie"].lower()
    assert "secure" in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert outside.get("/api/session").json()["user"]["name"] == "door"
    with connect(proxy.base.replace("https", "wss") + "/ws/screen", ssl=trust, open_timeout=60) as screen:
        assert screen.recv(timeout=60)
    outside.cookies.clear()


def test_nobody_can_speak_for_another_address(centre: Centre, outside: httpx.Client) -> None:
    """Guesses are counted by address: naming a fresh one each time must not start a fresh count."""
    for turn in range(40):
        forged = f"10.9.8.{turn}"
        answer = outside.get(
            "/api/reports/7K3QM9XA42TBC",
            headers={"X-Forwarded-For": forged, "X-Real-IP": forged, "Forwarded": f"for={forged}"},
        )
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    (counted,) = centre.execute("SELECT count(*) FROM report_rates WHERE what = 'guess'")
    assert counted == (1,)


def test_what_is_for_machines_here_is_not_for_the_network(outside: httpx.Client) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    inside = outside.get("/metrics", headers=bearer)
    assert inside.status_code == 404
    assert inside.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in inside.headers["content-security-policy"]
    assert outside.get("/api/devices", headers=bearer).status_code == 200


def test_a_body_too_large_is_refused(outside: httpx.Client) -> None:
    answer = outside.post(
        "/api/reports", content=b"x" * 2_000_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (413, 422)


def test_who_dribbles_headers_is_sent_away(proxy: Proxy, trust: ssl.SSLContext) -> None:
    with (
        socket.create_connection(("localhost", proxy.https), timeout=60) as line,
        trust.wrap_socket(line, server_hostname="localhost") as spoken,
    ):
        spoken.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        began = time.monotonic()
        assert b"200" not in spoken.recv(100)  # the proxy speaks first, and ends it
        assert time.monotonic() - began < 60


def test_a_centre_that_is_away_is_said_in_words(proxy: Proxy, trust: ssl.SSLContext, centre: Centre) -> None:
    """Last: it stops the centre."""
    centre.close()
    with httpx.Client(base_url=proxy.base, verify=trust, timeout=60) as client:
        answer = client.get("/api/devices")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail_zh"]
    assert answer.json()["status"] == 502
    for name in ("strict-transport-security", "x-content-type-options", "content-security-policy"):
        assert answer.headers[name]
