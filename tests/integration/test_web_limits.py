"""How much anybody may ask, how long a body may take, and what every answer carries, by HTTP on a real centre."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from command_centre.api.access import TABLE
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

AT_ONCE = 40
DIST = Path(__file__).parents[2] / "command_centre" / "web" / "dist"


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(
        postgres_server, postgres_template, requests_at_once=AT_ONCE, body_seconds=0.5
    ) as made:
        yield made


def said(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert body["detail_zh"]
    return body


def account(centre: Centre, name: str, role: str) -> str:
    """The cookie of a person who has logged in and changed the password."""
    secret = centre.client.post("/api/users", json={"name": name, "role": role}).json()["one_time_secret"]
    first = centre.stranger.post("/api/session", json={"name": name, "password": secret})
    assert first.status_code == 200, first.text
    cookie = first.cookies["city_session"]
    centre.stranger.cookies.clear()
    return str(cookie)


def test_an_account_may_ask_so_much_and_another_one_still_may(centre: Centre) -> None:
    one, other = account(centre, "busy", "viewer"), account(centre, "calm", "viewer")
    answers = [
        centre.stranger.get("/api/session", headers={"Cookie": f"city_session={one}"})
        for _ in range(AT_ONCE * 3)
    ]
    assert answers[0].status_code == 200
    refused = next(answer for answer in answers if answer.status_code == 429)
    said(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert centre.stranger.get("/api/session", headers={"Cookie": f"city_session={other}"}).status_code == 200


def test_an_address_may_ask_so_much_whoever_it_says_it_is(centre: Centre) -> None:
    """Also what the gate would refuse: each look at a session costs the database something."""
    forged = {"X-Forwarded-For": "10.7.7.7", "Authorization": "Bearer wrong"}
    codes = [centre.stranger.get("/api/devices", headers=forged).status_code for _ in range(AT_ONCE * 8)]
    assert codes[0] == 401
    assert 429 in codes
    aside = {**forged, "X-Forwarded-For": "10.7.7.8"}
    assert centre.stranger.get("/api/devices", headers=aside).status_code == 401


def test_secrets_are_not_guessed_on_from_one_address(centre: Centre) -> None:
    body, here = {"secret": "x" * 43}, {"X-Forwarded-For": "10.6.6.6"}
    codes = [
        centre.stranger.post("/api/screens/pair", json=body, headers=here).status_code for _ in range(35)
    ]
    assert codes[:30] == [403] * 30
    assert codes[-1] == 429
    assert centre.execute("SELECT count(*) FROM report_rates WHERE what = 'secret'") == [(1,)]
    elsewhere = {"X-Forwarded-For": "10.6.6.7"}
    assert centre.stranger.post("/api/screens/pair", json=body, headers=elsewhere).status_code == 403


def test_a_body_that_dribbles_is_not_waited_for(centre: Centre) -> None:
    host, port = centre.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(
            b"POST /api/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        answer = line.recv(4096)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"problem+json" in answer


def test_json_without_end_is_refused_before_it_is_read(centre: Centre) -> None:
    deep = "[" * 5000 + "]" * 5000
    answer = centre.stranger.post("/api/reports", content=deep, headers={"Content-Type": "application/json"})
    assert "nests deeper" in str(said(answer, 400)["detail"])
    flat = json.dumps({"text": "[[[[" * 50, "cell": "C1"})
    answer = centre.client.post("/api/reports", content=flat, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


@pytest.mark.parametrize("length", ["-1", "x", "99999999999", "²"])
def test_a_length_that_is_none_or_too_large_is_refused(centre: Centre, length: str) -> None:
    host, port = centre.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(
            b"POST /api/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
            + length.encode()
            + b"\r\n\r\n"
        )
        assert re.match(rb"HTTP/1.1 4\d\d", line.recv(4096))


def concrete(path: str) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: "1" if found[1].endswith("id") else "x", path)


def test_every_route_says_what_a_browser_may_do_with_its_answer(centre: Centre) -> None:
    """As nobody: most refuse, and a refusal is an answer too."""
    lacking = []
    for method, path in sorted(TABLE):
        answer = centre.stranger.request(method, concrete(path), headers={"Origin": centre.base})
        if not _guarded(answer, path):
            lacking.append((method, path, answer.status_code, dict(answer.headers)))
    assert lacking == []


def _guarded(answer: httpx.Response, path: str) -> bool:
    headers = answer.headers
    policy = headers.get("content-security-policy", "")
    return (
        (answer.status_code < 500 or path == "/readyz")
        and "unsafe" not in policy
        and "frame-ancestors 'none'" in policy
        and ("default-src 'self'" in policy or "default-src 'none'" in policy)
        and ("sandbox" in policy)
        == path.startswith(("/api/", "/open311/", "/cap/", "/sensorthings/", "/openapi", "/metrics"))
        and headers.get("x-content-type-options") == "nosniff"
        and headers.get("referrer-policy") == "same-origin"
        and headers.get("cross-origin-opener-policy") == "same-origin"
        and headers.get("cross-origin-resource-policy") == "same-origin"
        and "camera=()" in headers.get("permissions-policy", "")
        and bool(headers.get("cache-control"))
        and "server" not in headers
        and (not path.startswith("/api/") or "public" not in headers["cache-control"])
    )


def test_every_file_of_the_screens_carries_them_too(centre: Centre) -> None:
    files = [file for file in DIST.rglob("*") if file.is_file()] if DIST.is_dir() else []
    if not files:
        pytest.skip("the screens are not built here: hatch_build.py")
    seen = 0
    for file in files[:: max(1, len(files) // 40)]:
        answer = centre.stranger.get("/" + file.relative_to(DIST).as_posix())
        if answer.status_code == 404:
            continue  # served under another name
        seen += 1
        assert _guarded(answer, "/assets"), (file, dict(answer.headers))
    assert seen


def test_a_page_without_a_place_for_scripts_in_it(centre: Centre) -> None:
    """The policy allows no inline script: the pages must have none."""
    page = centre.stranger.get("/desk").text
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page)
    assert not re.search(r"\son\w+=", page)
