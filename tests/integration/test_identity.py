"""Second factors, sessions, proofs, tokens and pauses, against a centre that really serves."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import psycopg
import pyotp
import pytest
import websockets.sync.client as websockets
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from city.errors import CityError
from city.storage import sessions
from command_centre import accounts, logging_in
from command_centre.api.cookies import COOKIE, DEVICE_COOKIE
from runtime import cli
from tests.integration.running_centre import NO_TLS, Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

PASSWORD = "five quiet herons"


@pytest.fixture(scope="module")
def served(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One centre for all tests of this file; administrators act with a second factor only."""
    with on_fresh_ground(postgres_server, postgres_template, second_factor_roles="administrator") as made:
        yield made


@pytest.fixture
def centre(served: Centre) -> Centre:
    served.execute("DELETE FROM users")  # their sessions, factors and browsers go with them
    served.execute("DELETE FROM log_in_tries")
    return served


@contextmanager
def browsing(centre: Centre, **headers: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=centre.base, timeout=60, verify=NO_TLS, headers=headers) as client:
        yield client


def account(centre: Centre, name: str, role: str = "dispatcher") -> str:
    """An account with a password of its own."""
    made = centre.client.post("/api/users", json={"name": name, "role": role})
    assert made.status_code == 201, made.text
    hashed = accounts.hash_password(PASSWORD)
    centre.execute("UPDATE users SET password_hash = %s, must_change = false WHERE name = %s", hashed, name)
    return name


def log_in(client: httpx.Client, name: str, password: str = PASSWORD, code: str = "") -> httpx.Response:
    return client.post("/api/session", json={"name": name, "password": password, "code": code})


def code_of(secret: str, *, steps: int = 0) -> str:
    """What an app shows, so many steps later: a code serves once."""
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * steps)


def enrol(client: httpx.Client) -> tuple[str, list[str]]:
    begun = client.post("/api/me/second-factor")
    assert begun.status_code == 201, begun.text
    secret = begun.json()["secret"]
    confirmed = client.post("/api/me/second-factor/confirm", json={"code": code_of(secret)})
    assert confirmed.status_code == 200, confirmed.text
    return secret, confirmed.json()["recovery_codes"]


def test_a_second_factor_from_adding_it_to_losing_it(centre: Centre) -> None:
    name = account(centre, "wang")
    with browsing(centre) as client, browsing(centre) as other:
        log_in(other, name)
        log_in(client, name)
        begun = client.post("/api/me/second-factor").json()
        assert begun["picture"].startswith("<svg")
        assert log_in(other, name).status_code == 200  # begun, it guards nothing yet
        assert client.post("/api/me/second-factor/confirm", json={"code": "no code"}).status_code == 403
        secret, codes = enrol(client)
        (stored,) = centre.execute("SELECT encode(secret, 'hex') FROM second_factors")[0]
        assert base64.b32decode(secret).hex() not in str(stored)
        assert other.get("/api/session").status_code == 401  # the sessions without it are over
        assert client.get("/api/me/second-factor").json()["codes_left"] == 10

        wanted = log_in(other, name)
        assert (wanted.status_code, wanted.json()["code_wanted"]) == (401, True)
        assert "set-cookie" not in wanted.headers
        code = code_of(secret, steps=1)
        assert log_in(other, name, code=code).status_code == 200
        again = log_in(other, name, code=code)
        assert again.status_code == 401, "a code serves once"
        assert log_in(other, name, code=codes[0]).status_code == 200
        assert log_in(other, name, code=codes[0]).status_code == 401, "and so does a recovery code"
        assert client.get("/api/me/second-factor").json()["codes_left"] == 9
        assert log_in(other, name, "wrong", code=codes[1]).status_code == 401
        assert log_in(other, name, code=codes[1]).status_code == 200, "a wrong password spends no code"

        taken_away = centre.client.post(f"/api/users/{name}/second-factor/reset")
        assert taken_away.json()["user"]["second_factor"] is False
        assert client.get("/api/session").status_code == 401
        assert log_in(client, name).status_code == 200
    actions = {row[0] for row in centre.execute("SELECT action FROM audit")}
    assert {"user.second_factor", "user.second_factor_reset", "session.opened", "session.refused"} <= actions


def test_wrong_codes_pause_like_wrong_passwords(centre: Centre) -> None:
    name = account(centre, "wang")
    with browsing(centre) as client, browsing(centre) as guesser:
        log_in(client, name)
        _, codes = enrol(client)
        for _ in range(logging_in.FREE_TRIES):
            assert log_in(guesser, name, code="aaaaa-aaaaa").status_code == 401
        assert log_in(guesser, name, code=codes[0]).status_code == 429
        assert log_in(client, name, code=codes[0]).status_code == 200, (
            "the browser they always use is not paused"
        )


def test_a_role_that_needs_a_second_factor_does_nothing_without(centre: Centre) -> None:
    name = account(centre, "boss", "administrator")
    with browsing(centre) as client:
        assert log_in(client, name).json()["user"]["must_enrol"] is True
        refused = client.get("/api/incidents")
        assert (refused.status_code, refused.json()["must_enrol"]) == (403, True)
        secret, _ = enrol(client)
        assert client.get("/api/users").status_code == 200
        gone = client.post("/api/me/second-factor/remove", json={"code": code_of(secret, steps=1)})
        assert gone.status_code == 204
        assert client.get("/api/users").json()["must_enrol"] is True
    assert centre.client.get("/api/users").status_code == 200, "automation has no telephone"


def test_my_sessions_are_listed_and_ended(centre: Centre) -> None:
    name = account(centre, "wang")
    with (
        browsing(centre, **{"User-Agent": "Desk/1"}) as desk,
        browsing(centre, **{"User-Agent": "Phone/1"}) as phone,
    ):
        log_in(desk, name)
        log_in(phone, name)
        rows = desk.get("/api/me/sessions").json()["items"]
        assert {(row["browser"], row["current"]) for row in rows} == {("Desk/1", True), ("Phone/1", False)}
        assert {row["address"] for row in rows} == {"127.0.0.1"}
        theirs = next(row["id"] for row in rows if not row["current"])
        account(centre, "other")
        with browsing(centre) as stranger:
            log_in(stranger, "other")
            assert stranger.delete(f"/api/me/sessions/{theirs}").status_code == 404
        assert desk.delete(f"/api/me/sessions/{theirs}").status_code == 204
        assert phone.get("/api/session").status_code == 401
        log_in(phone, name)
        assert desk.delete("/api/me/sessions").status_code == 204
        assert phone.get("/api/session").status_code == 401
        assert len(centre.client.get(f"/api/users/{name}/sessions").json()["items"]) == 1
        assert centre.client.post(f"/api/users/{name}/sessions/end").status_code == 204
        assert desk.get("/api/session").status_code == 401


def test_what_is_dangerous_asks_again_who_it_is(centre: Centre) -> None:
    name = account(centre, "boss", "administrator")
    with browsing(centre) as client:
        log_in(client, name)
        secret, codes = enrol(client)
        made = {"name": "new.one"}
        assert client.post("/api/users", json=made).status_code == 201
        centre.execute("UPDATE sessions SET proven_at = now() - interval '31 minutes'")
        assert client.get("/api/users").status_code == 200
        refused = client.post("/api/tokens", json={"name": "x"})
        assert (refused.status_code, refused.json()["prove"]) == (403, True)
        old = client.cookies[COOKIE]
        wrong = client.post("/api/session/prove", json={"password": "wrong", "code": codes[0]})
        assert wrong.status_code == 403
        without = client.post("/api/session/prove", json={"password": PASSWORD})
        assert without.json()["code_wanted"] is True
        proven = client.post(
            "/api/session/prove", json={"password": PASSWORD, "code": code_of(secret, steps=1)}
        )
        assert proven.status_code == 204
        assert client.post("/api/tokens", json={"name": "x"}).status_code == 201
        assert client.cookies[COOKIE] != old
        stale = httpx.get(f"{centre.base}/api/session", cookies={COOKIE: old})
        assert stale.status_code == 401, "what was read of the cookie before opens nothing"


def test_guessing_pauses_who_guesses_and_tells_no_names(centre: Centre) -> None:
    name = account(centre, "wang")
    with browsing(centre) as known, browsing(centre) as guesser:
        log_in(known, name)
        assert known.cookies[DEVICE_COOKIE]
        answers = []
        for tried in (name, "nobody.here"):
            replies = [log_in(guesser, tried, "wrong") for _ in range(logging_in.FREE_TRIES + 1)]
            answers.append([(one.status_code, one.json()["detail"][:30]) for one in replies])
        assert answers[0] == answers[1]
        assert answers[0][-1][0] == 429
        assert 0 < int(replies[-1].headers["retry-after"]) <= sessions.FIRST_PAUSE_S + 1
        assert log_in(guesser, name).status_code == 429
        assert log_in(known, name).status_code == 200, "nobody locks a control room out from elsewhere"
        shown = {one["name"]: one["locked_until"] for one in centre.client.get("/api/users").json()["items"]}
        assert shown[name] is not None
        centre.execute("UPDATE log_in_tries SET locked_until = now() - interval '1 second'")
        assert log_in(guesser, name, "wrong").status_code == 401
        longer = log_in(guesser, name)
        assert int(longer.headers["retry-after"]) > sessions.FIRST_PAUSE_S
        fresh = centre.client.post(f"/api/users/{name}/reset").json()["one_time_secret"]
        assert log_in(guesser, name, fresh).status_code == 200
    assert centre.execute("SELECT 1 FROM log_in_tries WHERE key::text LIKE '%%wang%%'") == []


def test_one_address_that_tries_many_names_pauses_itself(centre: Centre) -> None:
    now = datetime.now(UTC)
    ring = None
    with psycopg.connect(centre.url) as connection:
        outcomes = [
            logging_in.log_in(
                connection,
                ring,  # type: ignore[arg-type]  # no account, no second factor
                logging_in.Try(name=f"name{number}", password="x", address=f"2001:db8::{number:x}"),
                logging_in.Lasting(),
                now,
            )
            for number in range(logging_in.FREE_OF_ADDRESS + 1)
        ]
    assert outcomes[:-1] == [None] * logging_in.FREE_OF_ADDRESS
    assert isinstance(outcomes[-1], logging_in.Paused)


def test_tokens_do_what_they_say_until_they_end(centre: Centre) -> None:
    given = {"name": "dashboard", "role": "dispatcher"}
    made = centre.client.post("/api/tokens", json=given).json()
    assert made["token"]["only_reads"] is True
    assert centre.execute("SELECT 1 FROM api_tokens WHERE digest = %s", made["secret"].encode()) == []
    with browsing(centre, Authorization=f"Bearer {made['secret']}") as reader:
        assert reader.get("/api/incidents").status_code == 200
        assert reader.get("/api/users").status_code == 403
        refused = reader.post("/api/incidents", json={"category": "fire.smoke", "cell": "C1"})
        assert refused.status_code == 403
        assert "only reads" in refused.json()["detail"]
        assert reader.get("/api/session").json()["user"]["name"] == "dashboard"
        assert reader.get("/api/me/sessions").status_code == 403
    assert centre.client.get("/api/tokens").json()["items"][0]["last_used_at"] is not None

    writes = centre.client.post("/api/tokens", json={**given, "only_reads": False, "scope": "S1"}).json()
    with browsing(centre, Authorization=f"Bearer {writes['secret']}") as writer:
        opened = writer.post("/api/incidents", json={"category": "fire.smoke", "cell": "C1"})
        assert opened.status_code == 201
        number = writes["token"]["id"]
        assert centre.client.post(f"/api/tokens/{number}/revoke").json()["state"] == "revoked"
        assert writer.get("/api/incidents").status_code == 401
        assert centre.client.post(f"/api/tokens/{number}/revoke").status_code == 409
    centre.execute(
        "UPDATE api_tokens SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'"
    )
    with browsing(centre, Authorization=f"Bearer {made['secret']}") as reader:
        assert reader.get("/api/incidents").status_code == 401
    assert centre.client.post("/api/tokens", json={"name": "x", "scope": "nowhere"}).status_code == 422
    assert centre.client.post("/api/tokens", json={"name": "x", "role": "handler"}).status_code == 422
    assert centre.client.post("/api/tokens/999/revoke").status_code == 404


def test_an_account_reaches_the_area_it_is_given(centre: Centre) -> None:
    made = centre.client.post("/api/users", json={"name": "li", "role": "dispatcher", "scope": "S1"})
    assert made.json()["user"]["scope"] == "S1"
    wrong = centre.client.patch("/api/users/li", json={"scope": "nowhere"})
    assert wrong.json()["errors"][0]["field"] == "scope"
    assert centre.client.patch("/api/users/li", json={"scope": "C2"}).json()["user"]["scope"] == "C2"
    assert centre.client.patch("/api/users/li", json={"role": "viewer"}).json()["user"]["scope"] == "C2"
    assert centre.client.patch("/api/users/li", json={"scope": ""}).json()["user"]["scope"] is None


@pytest.mark.parametrize(
    ("password", "why"),
    [("passwordpassword", "guessed"), ("dispatcher.wang", "guessed"), ("short", "characters")],
)
def test_weak_passwords_are_refused_with_words(centre: Centre, password: str, why: str) -> None:
    name = account(centre, "dispatcher.wang")
    with browsing(centre) as client:
        log_in(client, name)
        refused = client.post("/api/session/password", json={"current": PASSWORD, "new": password})
        assert refused.status_code == 422
        assert why in refused.json()["detail"]
        assert password not in refused.text.replace(name, "")


def test_a_changed_password_renews_the_session_and_ends_the_others(centre: Centre) -> None:
    name = account(centre, "wang")
    with browsing(centre) as client, browsing(centre) as other:
        log_in(client, name)
        log_in(other, name)
        old = client.cookies[COOKIE]
        fresh = {"current": PASSWORD, "new": "six loud cranes at dusk"}
        assert client.post("/api/session/password", json=fresh).status_code == 204
        assert client.cookies[COOKIE] != old
        assert client.get("/api/session").status_code == 200
        assert other.get("/api/session").status_code == 401


def test_under_tls_the_cookie_is_this_hosts_alone(centre: Centre) -> None:
    name = account(centre, "wang")
    with browsing(centre, **{"X-Forwarded-Proto": "https"}) as client:
        lines = [line.lower() for line in log_in(client, name).headers.get_list("set-cookie")]
        assert len(lines) == 2
        assert all(line.startswith("__host-") and "; secure" in line for line in lines)
        kept = next(line for line in lines if COOKIE in line)
        assert kept.startswith("__host-city_session=")
        assert all(part in kept for part in ("secure", "httponly", "samesite=strict", "path=/"))
        assert "domain" not in kept
        token = kept.split("=", 1)[1].split(";")[0]
    cased = centre.execute("SELECT 1 FROM sessions")
    assert len(cased) == 1
    assert token


def test_another_log_in_of_a_browser_ends_the_session_it_had(centre: Centre) -> None:
    name = account(centre, "wang")
    with browsing(centre) as client:
        log_in(client, name)
        before = client.cookies[COOKIE]
        assert log_in(client, name).status_code == 200
        assert client.get("/api/session").status_code == 200
    with browsing(centre, Cookie=f"{COOKIE}={before}") as copy:
        assert copy.get("/api/session").status_code == 401


def test_a_long_password_is_not_cut(centre: Centre) -> None:
    name = account(centre, "wang")
    longest = "four calm herons " * 15
    longest += "x" * (256 - len(longest))
    centre.execute("UPDATE users SET password_hash = %s", accounts.hash_password(longest))
    with browsing(centre) as client:
        assert log_in(client, name, longest + "y").status_code == 401
        assert log_in(client, name, longest).status_code == 200


def test_time_does_not_tell_which_names_there_are(centre: Centre) -> None:
    """Both hash once; with the product's own parameters that is a tenth of a second, nothing beside it counts."""
    name = account(centre, "wang")
    calls = []
    verified = accounts.verified

    def counting(password_hash: str, password: str) -> bool:
        calls.append(time.monotonic())
        return verified(password_hash, password)

    with pytest.MonkeyPatch.context() as patch, browsing(centre) as client:
        patch.setattr(accounts, "verified", counting)
        log_in(client, name, "wrong")
        assert len(calls) == 1
        log_in(client, "nobody", "wrong")
        assert len(calls) == 2


def farewell(screen: websockets.ClientConnection, *, frames: int | None = None) -> int:
    """The code with which the centre ends the connection, after so many frames."""
    got = 0
    try:
        while frames is None or got <= frames:
            screen.recv(60)
            got += 1
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 0
    raise AssertionError(f"{got} frames, and none of them a farewell")


def test_a_screen_is_sent_away_when_what_opened_it_ends(centre: Centre) -> None:
    """By a session under its name for TLS, by a token, and not at all by a log-in that lacks its second factor."""
    name = account(centre, "wang")
    over_tls = {"X-Forwarded-Proto": "https"}
    with browsing(centre, **over_tls) as client:
        line = next(one for one in log_in(client, name).headers.get_list("set-cookie") if COOKIE in one)
    made = centre.client.post("/api/tokens", json={"name": "screen", "role": "dispatcher"}).json()
    asked = f"{centre.screens}?as=staff"
    by_session = websockets.connect(asked, additional_headers={**over_tls, "Cookie": line.split(";")[0]})
    by_token = websockets.connect(asked, additional_headers={"Authorization": f"Bearer {made['secret']}"})
    with by_session as person, by_token as program:
        assert json.loads(person.recv(60))
        assert json.loads(program.recv(60))
        centre.client.post(f"/api/users/{name}/sessions/end")
        centre.client.post(f"/api/tokens/{made['token']['id']}/revoke")
        assert [farewell(screen) for screen in (person, program)] == [4401, 4401]
    boss = account(centre, "boss", "administrator")
    with browsing(centre) as client:
        log_in(client, boss)
        cookie = f"{COOKIE}={client.cookies[COOKIE]}"
    refused = [
        {"Cookie": cookie},
        {"Authorization": f"Bearer {made['secret']}"},
        {**over_tls, "Cookie": cookie},
    ]
    for headers in refused:
        with websockets.connect(asked, additional_headers=headers) as screen:
            assert farewell(screen, frames=0) == 4401


def test_tokens_from_the_command_line(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_DATABASE_URL", centre.url)
    run = CliRunner().invoke
    made = run(cli.app, ["token", "make", "street office", "--role", "dispatcher", "--scope", "S1", "--json"])
    assert made.exit_code == 0, made.output
    told = json.loads(made.output)
    with browsing(centre, Authorization=f"Bearer {told['token']}") as program:
        assert program.get("/api/session").json()["user"]["scope"] == "S1"
        listed = run(cli.app, ["token", "list"])
        assert "street office: dispatcher, S1, reads, active" in listed.output
        assert told["token"] not in listed.output
        assert run(cli.app, ["token", "revoke", str(told["id"])]).exit_code == 0
        assert program.get("/api/session").status_code == 401
    again = run(cli.app, ["token", "revoke", str(told["id"])])
    assert isinstance(again.exception, CityError)
    for wrong in (["--role", "chief"], ["--role", "handler"], ["--scope", "nowhere"]):
        assert isinstance(run(cli.app, ["token", "make", "x", *wrong]).exception, CityError)


def test_the_last_administrator_comes_back_without_their_telephone(centre: Centre) -> None:
    name = account(centre, "boss", "administrator")
    with browsing(centre) as client:
        log_in(client, name)
        enrol(client)
        kept = accounts.reset(centre.url, name, actor="command-line")
        assert log_in(client, name, kept.secret).json()["code_wanted"] is True, "a secret alone opens nothing"
        done = accounts.reset(centre.url, name, actor="command-line", no_second_factor=True)
        assert log_in(client, name, done.secret).json()["user"]["must_enrol"] is True
