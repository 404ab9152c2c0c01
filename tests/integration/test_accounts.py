"""Log-in, roles, sessions and pauses, against a centre that really serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from argon2 import PasswordHasher

from city.storage import users
from command_centre import accounts
from command_centre.api.gate import COOKIE
from tests.integration.running_centre import NO_TLS, Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

PASSWORD = "a-long-enough-word"


@pytest.fixture(scope="module")
def served(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """One centre for all tests of this file."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


@pytest.fixture
def centre(served: Centre) -> Centre:
    """It, as if nobody had ever logged in."""
    served.execute("DELETE FROM sessions")
    served.execute("DELETE FROM log_in_tries")
    served.execute("DELETE FROM users")
    return served


@pytest.fixture
def begun(centre: Centre) -> int:
    """The last line of the record before this test."""
    (last,) = centre.execute("SELECT coalesce(max(id), 0) FROM audit")[0]
    return int(str(last))


@pytest.fixture(autouse=True)
def secret(request: pytest.FixtureRequest) -> str:
    """The first administrator's one-time secret, in the tests that ask for a centre."""
    if "centre" not in request.fixturenames:
        return ""
    request.getfixturevalue("begun")
    made = accounts.ensure_administrator(request.getfixturevalue("centre").url)
    assert made is not None
    return made


@pytest.fixture
def browser(centre: Centre) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=centre.base, timeout=60, verify=NO_TLS) as client:
        yield client


def log_in(client: httpx.Client, name: str, password: str, **headers: str) -> httpx.Response:
    return client.post("/api/session", json={"name": name, "password": password}, headers=headers)


@contextmanager
def person(centre: Centre, role: str) -> Iterator[httpx.Client]:
    """Somebody with a role, logged in and past the first change of password."""
    name = f"{role}-1"
    made = centre.client.post("/api/users", json={"name": name, "role": role})
    assert made.status_code == 201
    once = made.json()["one_time_secret"]
    with httpx.Client(base_url=centre.base, timeout=60, verify=NO_TLS) as client:
        assert log_in(client, name, once).status_code == 200
        changed = client.post("/api/session/password", json={"current": once, "new": PASSWORD})
        assert changed.status_code == 204
        yield client


def test_the_first_administrator_is_made_once(migrated_url: str) -> None:
    first = accounts.ensure_administrator(migrated_url)
    assert first is not None
    assert accounts.ensure_administrator(migrated_url) is None
    with psycopg.connect(migrated_url) as connection:
        user = users.get(connection, accounts.FIRST_ADMINISTRATOR)
    assert user is not None
    assert user.password_hash.startswith("$argon2id$")
    assert first not in user.password_hash
    assert user.must_change
    with psycopg.connect(migrated_url) as connection:
        now = datetime.now(UTC)
        assert users.first_secret_ended(connection, user.id, now) is None
        assert users.first_secret_ended(connection, user.id, now + accounts.FIRST_SECRET_LASTS) is not None


def test_the_product_hashes_as_the_library_recommends(products_hasher: PasswordHasher) -> None:
    """Not as these tests do, whose hashes cost nothing."""
    known = PasswordHasher()
    assert products_hasher.hash("x").rsplit("$", 2)[0] == known.hash("x").rsplit("$", 2)[0]
    assert products_hasher.hash("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_command_line_gives_a_fresh_secret_and_ends_sessions(
    centre: Centre, browser: httpx.Client, secret: str, begun: int
) -> None:
    log_in(browser, "admin", secret)
    done = accounts.reset(centre.url, "admin", actor="command-line")
    assert done.user.role == "administrator"
    assert browser.get("/api/session").status_code == 401
    assert log_in(browser, "admin", secret).status_code == 401
    assert log_in(browser, "admin", done.secret).json()["user"]["must_change"] is True
    assert ("command-line", "user.reset", f"user:{done.user.id}") in centre.execute(
        "SELECT actor, action, object FROM audit WHERE id > %s", begun
    )


def test_a_first_secret_that_nobody_used_in_time_opens_nothing(
    centre: Centre, browser: httpx.Client, secret: str
) -> None:
    late = accounts.reset(centre.url, "admin", actor="command-line", lasts=timedelta(seconds=-1)).secret
    refused = log_in(browser, "admin", late)
    assert refused.status_code == 401
    assert "was good until" in refused.json()["detail"]
    assert "city password NAME" in refused.json()["detail"]
    assert "过期" in refused.json()["detail_zh"]
    assert "set-cookie" not in refused.headers
    assert "good until" not in log_in(browser, "admin", "another").json()["detail"], (
        "it tells who knows it alone"
    )
    assert centre.execute("SELECT reason FROM audit WHERE action = 'session.refused' ORDER BY id DESC LIMIT 2") == [
        ("password",), ("first secret ended",),
    ]  # fmt: skip
    good = accounts.reset(centre.url, "admin", actor="command-line").secret
    assert log_in(browser, "admin", good).status_code == 200
    changed = browser.post("/api/session/password", json={"current": good, "new": PASSWORD})
    assert changed.status_code == 204
    assert centre.execute("SELECT count(*) FROM first_secrets") == [(0,)], (
        "a password of one's own does not run out"
    )
    assert log_in(browser, "admin", PASSWORD).status_code == 200


def test_the_command_line_makes_an_account_and_refuses_to_guess(migrated_url: str) -> None:
    with pytest.raises(accounts.AccountError, match="--create"):
        accounts.reset(migrated_url, "wang", actor="command-line")
    made = accounts.reset(migrated_url, "wang", actor="command-line", create=True, role="administrator")
    assert (made.user.name, made.user.role, made.user.must_change) == ("wang", "administrator", True)
    with pytest.raises(accounts.AccountError, match="leave out --create"):
        accounts.reset(migrated_url, "wang", actor="command-line", create=True)
    with pytest.raises(accounts.AccountError, match="letters"):
        accounts.reset(migrated_url, "王", actor="command-line", create=True)
    assert accounts.ensure_administrator(migrated_url) is None
    with psycopg.connect(migrated_url) as connection:
        assert connection.execute("SELECT action, object FROM audit").fetchall() == [
            ("user.created", f"user:{made.user.id}")
        ]


def test_the_one_time_secret_opens_only_its_own_change(browser: httpx.Client, secret: str) -> None:
    answer = log_in(browser, "admin", secret)
    assert answer.json()["user"] == {
        "name": "admin", "display_name": "管理员", "role": "administrator", "must_change": True,
        "must_enrol": False, "unit": None, "scope": None, "by_provider": False, "city": False,
    }  # fmt: skip
    assert browser.get("/api/session").json()["user"]["must_change"] is True
    refused = browser.get("/api/incidents")
    assert refused.status_code == 403
    assert "change" in refused.json()["detail"]
    assert refused.json()["must_change"] is True
    short = browser.post("/api/session/password", json={"current": secret, "new": "short"})
    assert short.status_code == 422
    same = browser.post("/api/session/password", json={"current": secret, "new": secret})
    assert same.status_code == 422
    wrong = browser.post("/api/session/password", json={"current": "wrong-one", "new": PASSWORD})
    assert wrong.status_code == 403
    changed = browser.post("/api/session/password", json={"current": secret, "new": PASSWORD})
    assert changed.status_code == 204
    assert browser.get("/api/incidents").status_code == 200
    assert log_in(browser, "admin", secret).status_code == 401
    assert log_in(browser, "admin", PASSWORD).json()["user"]["must_change"] is False


def test_the_cookie_is_for_this_site_and_no_script(browser: httpx.Client, secret: str) -> None:
    cookie = log_in(browser, "admin", secret).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # plain http; over TLS it is
    over_tls = log_in(browser, "admin", secret, **{"X-Forwarded-Proto": "https"})
    assert "secure" in over_tls.headers["set-cookie"].lower()


def test_the_table_holds_no_token_that_opens_anything(
    centre: Centre, browser: httpx.Client, secret: str
) -> None:
    log_in(browser, "admin", secret)
    assert centre.execute("SELECT token_digest FROM sessions") == [
        (accounts.digest(browser.cookies[COOKIE]),)
    ]


def test_logging_out_ends_the_session_for_good(centre: Centre, browser: httpx.Client, secret: str) -> None:
    log_in(browser, "admin", secret)
    token = browser.cookies[COOKIE]
    assert browser.delete("/api/session").status_code == 204
    again = httpx.get(f"{centre.base}/api/session", cookies={COOKIE: token})
    assert again.status_code == 401


@pytest.mark.parametrize(
    ("column", "age"), [("seen_at", "13 hours"), ("expires_at", "1 second")], ids=["idle", "too old"]
)
def test_sessions_end_by_themselves(
    centre: Centre, browser: httpx.Client, secret: str, column: str, age: str
) -> None:
    log_in(browser, "admin", secret)
    assert browser.get("/api/session").status_code == 200
    centre.execute(f"UPDATE sessions SET {column} = now() - interval '{age}'")
    assert browser.get("/api/session").status_code == 401


def test_roles_open_what_the_table_says(centre: Centre) -> None:
    with person(centre, "viewer") as viewer, person(centre, "dispatcher") as dispatcher:
        for client, allowed in ((viewer, False), (dispatcher, True)):
            assert client.get("/api/incidents").status_code == 200
            made = client.post("/api/incidents", json={"category": "fire.smoke", "cell": "C1"})
            assert made.status_code == (201 if allowed else 403)
            assert client.get("/api/users").status_code == 403
            assert client.post("/api/quarantine/replay", json={"ids": [1]}).status_code == 403
        refused = viewer.post("/api/incidents/1/acknowledge")
        assert "dispatcher" in refused.json()["detail"]


def test_a_changed_role_holds_at_once_and_disabling_ends_sessions(centre: Centre) -> None:
    with person(centre, "dispatcher") as client:
        centre.client.patch("/api/users/dispatcher-1", json={"role": "viewer"})
        assert client.post("/api/incidents", json={"category": "fire.smoke"}).status_code == 403
        centre.client.patch("/api/users/dispatcher-1", json={"disabled": True})
        assert client.get("/api/session").status_code == 401
        assert log_in(client, "dispatcher-1", PASSWORD).status_code == 401
        centre.client.patch("/api/users/dispatcher-1", json={"disabled": False})
        assert log_in(client, "dispatcher-1", PASSWORD).status_code == 200


def test_the_last_administrator_cannot_be_lost(centre: Centre) -> None:
    for change in ({"disabled": True}, {"role": "viewer"}):
        refused = centre.client.patch("/api/users/admin", json=change)
        assert refused.status_code == 409
    centre.client.post("/api/users", json={"name": "second", "role": "administrator"})
    assert centre.client.patch("/api/users/admin", json={"role": "viewer"}).status_code == 200


def test_a_reset_gives_a_fresh_secret_and_ends_sessions(centre: Centre) -> None:
    with person(centre, "viewer") as client:
        fresh = centre.client.post("/api/users/viewer-1/reset").json()["one_time_secret"]
        assert client.get("/api/session").status_code == 401
        assert log_in(client, "viewer-1", PASSWORD).status_code == 401
        assert log_in(client, "viewer-1", fresh).json()["user"]["must_change"] is True
    assert centre.client.post("/api/users/nobody/reset").status_code == 404


def test_a_name_is_taken_once(centre: Centre) -> None:
    assert centre.client.post("/api/users", json={"name": "admin"}).status_code == 409
    bad = centre.client.post("/api/users", json={"name": "with space"})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["field"] == "name"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({}, 204),
    ],
)
def test_another_sites_page_cannot_use_the_cookie(
    browser: httpx.Client, secret: str, headers: dict[str, str], status: int
) -> None:
    log_in(browser, "admin", secret)
    assert browser.delete("/api/session", headers=headers).status_code == status


def test_another_sites_page_cannot_log_somebody_in(browser: httpx.Client, secret: str) -> None:
    refused = log_in(browser, "admin", secret, **{"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer", "Basic YTpi", "Bearer \xe9"])
def test_a_wrong_token_is_nobody(centre: Centre, authorization: str) -> None:
    hostile = {b"Authorization": authorization.encode("latin-1")}
    refused = centre.stranger.get("/api/incidents", headers=hostile)
    assert refused.status_code == 401


def test_the_token_is_an_administrator(centre: Centre) -> None:
    assert centre.client.get("/api/users").status_code == 200
    assert centre.client.get("/api/session").json()["user"]["role"] == "administrator"
    refused = centre.client.post("/api/session/password", json={"current": "x", "new": PASSWORD})
    assert refused.status_code == 403


def test_every_change_of_an_account_is_on_record(centre: Centre, begun: int) -> None:
    centre.client.post("/api/users", json={"name": "someone"})
    centre.client.patch("/api/users/someone", json={"role": "dispatcher"})
    rows = centre.execute("SELECT actor, action, object FROM audit WHERE id > %s ORDER BY id", begun)
    named = dict(centre.execute("SELECT name, 'user:' || id FROM users"))
    assert ("system", "user.created", named["admin"]) in rows
    assert ("api-token", "user.created", named["someone"]) in rows
    assert ("api-token", "user.changed", named["someone"]) in rows
