"""Logging in at the city's own identity provider: a real one, over HTTP, as a browser does it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from command_centre import accounts, oidc
from command_centre.api.cookies import COOKIE, FLOW_COOKIE
from tests.conftest import lacking
from tests.integration.running_centre import NO_TLS, Centre, lay_ground
from tests.servers.oidc_provider import SECRET, OidcProvider
from tests.servers.postgres import PostgresServer
from tests.servers.processes import UnavailableError, free_port

PEOPLE = {
    "s-1": {"preferred_username": "li.na", "name": "李娜", "groups": ["duty"]},
    "s-2": {"preferred_username": "chief", "name": "Chief", "groups": ["chiefs"]},
    "s-3": {"preferred_username": "guest", "groups": ["visitors"]},
    "s-4": {"preferred_username": "local.one", "groups": ["duty"]},
}
RULES = """
[[rule]]
claim = "groups"
value = "duty"
role = "dispatcher"
scope = "S1"
[[rule]]
claim = "groups"
value = "chiefs"
role = "administrator"
"""
PASSWORD = "five quiet herons"


@dataclass(frozen=True, kw_only=True)
class Town:
    centre: Centre
    provider: OidcProvider

    def browser(self) -> httpx.Client:
        return httpx.Client(timeout=60, verify=NO_TLS, follow_redirects=True)

    def walk(self, browser: httpx.Client, who: str, query: str = "", **form: str) -> httpx.URL:
        """To the provider, through its page and back; where the browser ends."""
        page = browser.get(f"{self.centre.base}/api/oidc/start{query}")
        assert page.url.path.startswith("/who/"), page.url
        return browser.post(page.url, data={"who": who, **form}).url

    def me(self, browser: httpx.Client) -> dict[str, object]:
        found = browser.get(f"{self.centre.base}/api/session").json()
        return dict(found.get("user") or {})


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    try:
        provider = OidcProvider(PEOPLE)
    except UnavailableError as missing:
        lacking(missing)
    folder: Path = tmp_path_factory.mktemp("oidc")
    (folder / "secret").write_text(SECRET + "\n")
    (folder / "rules.toml").write_text(RULES)
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    provider.port = free_port()
    centre = Centre(
        url,
        oidc_issuer=provider.issuer,
        oidc_client_id="city",
        oidc_client_secret_file=folder / "secret",
        oidc_rules=folder / "rules.toml",
        oidc_name="City Hall",
        second_factor_roles="administrator",
    )
    provider.redirect = f"{centre.base}/api/oidc/callback"
    try:
        provider.start()
        centre.start()
        yield Town(centre=centre, provider=provider)
    finally:
        centre.close()
        provider.close()
        postgres_server.drop_database(name)


@pytest.fixture(autouse=True)
def _nobody_yet(town: Town) -> None:
    town.centre.execute("DELETE FROM users")
    town.centre.execute("DELETE FROM log_in_tries")


def test_the_log_in_page_learns_of_the_provider(town: Town) -> None:
    assert town.centre.stranger.get("/api/session/ways").json()["provider"] == "City Hall"


def test_the_first_log_in_makes_an_account_as_the_rules_say(town: Town) -> None:
    with town.browser() as browser:
        assert town.walk(browser, "s-1", "?back=/flood").path == "/flood"
        me = town.me(browser)
        assert (me["name"], me["display_name"], me["role"], me["scope"]) == (
            "li.na",
            "李娜",
            "dispatcher",
            "S1",
        )
        assert me["by_provider"] is True
        assert FLOW_COOKIE not in browser.cookies
        town.centre.execute("UPDATE users SET role = 'viewer'")
        town.centre.execute("DELETE FROM user_scopes")
        town.walk(browser, "s-1", "?again=1")
        assert (town.me(browser)["role"], town.me(browser)["scope"]) == ("dispatcher", "S1")
        assert len(town.centre.execute("SELECT 1 FROM users")) == 1
        assert len(town.centre.execute("SELECT 1 FROM sessions")) == 1, "the one before is over"
        done = browser.delete(f"{town.centre.base}/api/session")
        assert done.json()["continue_at"].startswith(f"{town.provider.issuer}/session/end?client_id=city")
        assert town.me(browser) == {}


def test_who_has_no_role_or_no_second_factor_stays_outside(town: Town) -> None:
    with town.browser() as browser:
        assert "problem=no_role" in str(town.walk(browser, "s-3"))
    with town.browser() as browser:
        assert "problem=second_factor" in str(town.walk(browser, "s-2"))
        assert COOKIE not in browser.cookies
    with town.browser() as browser:
        assert town.walk(browser, "s-2", second="1").path == "/desk"
        assert town.me(browser)["must_enrol"] is False
    with town.browser() as browser:
        assert "problem=refused" in str(town.walk(browser, "s-1", refuse="1"))
    refused = town.centre.execute("SELECT reason FROM audit WHERE action = 'session.refused' ORDER BY id")
    assert [row[0] for row in refused][-3:] == [
        "provider: no_role",
        "provider: second_factor",
        "provider: refused",
    ]


def test_a_local_account_is_linked_by_its_owner_only(town: Town) -> None:
    town.centre.client.post("/api/users", json={"name": "local.one", "role": "viewer"})
    hashed = accounts.hash_password(PASSWORD)
    town.centre.execute("UPDATE users SET password_hash = %s, must_change = false", hashed)
    with town.browser() as browser:
        assert "problem=taken" in str(town.walk(browser, "s-4")), "a name at the provider opens nothing here"
        refused = browser.get(f"{town.centre.base}/api/oidc/start?link=1")
        assert refused.status_code == 401
        browser.post(f"{town.centre.base}/api/session", json={"name": "local.one", "password": PASSWORD})
        town.centre.execute("UPDATE sessions SET proven_at = now() - interval '31 minutes'")
        stale = browser.get(f"{town.centre.base}/api/oidc/start?link=1")
        assert (stale.status_code, stale.json()["prove"]) == (403, True)
        town.centre.execute("UPDATE sessions SET proven_at = now()")
        assert town.walk(browser, "s-4", "?link=1&back=/settings/users/me").path == "/settings/users/me"
    with town.browser() as browser:
        town.walk(browser, "s-4")
        assert town.me(browser)["role"] == "viewer", "an administrator decides, not the provider"
        unlinked = town.centre.client.post("/api/users/local.one/unlink")
        assert unlinked.json()["user"]["by_provider"] is False
        assert town.me(browser) == {}


def test_another_sites_link_logs_nobody_in(town: Town) -> None:
    with httpx.Client(timeout=60, verify=NO_TLS) as browser:
        address = f"{town.centre.base}/api/oidc/start"
        led = browser.get(address, headers={"Sec-Fetch-Site": "cross-site"})
        assert (led.status_code, led.headers["location"]) == (303, "/login")
        assert not browser.cookies
        own = browser.get(address, headers={"Sec-Fetch-Site": "same-origin"})
        assert own.headers["location"].startswith(town.provider.issuer)


def test_an_answer_that_was_not_asked_for_opens_nothing(town: Town) -> None:
    base = town.centre.base
    with town.browser() as victim, town.browser() as attacker:
        page = attacker.get(f"{base}/api/oidc/start")
        attacker.follow_redirects = False
        answer = attacker.post(page.url, data={"who": "s-1"})
        while not answer.headers["location"].startswith(f"{base}/api/oidc/callback"):
            answer = attacker.get(httpx.URL(page.url).join(answer.headers["location"]))
        callback = answer.headers["location"]
        assert "problem=state" in str(victim.get(callback).url), "begun in another browser"
        town.walk(victim, "s-2", second="1")
        mine = victim.cookies[COOKIE]
        victim.get(f"{base}/api/oidc/callback?code=x&state=x")
        assert victim.cookies[COOKIE] == mine
        query = parse_qs(urlsplit(callback).query)
        assert query["iss"] == [town.provider.issuer]
        forged = callback.replace("iss=", "was=")
        attacker.get(forged)
        assert COOKIE not in attacker.cookies, (
            "the provider says that it names itself, and this answer does not"
        )


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"]
)
def test_the_way_back_is_a_page_of_ours(town: Town, back: str) -> None:
    with town.browser() as browser:
        assert town.walk(browser, "s-1", f"?back={back}").path == "/desk"


def test_other_keys_and_a_provider_that_is_away(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_AGAIN", oidc.timedelta(0))
    with town.browser() as browser:
        town.walk(browser, "s-1")
        town.provider.stop()
        town.centre.client.post("/api/users", json={"name": "local.one", "role": "viewer"})
        hashed = accounts.hash_password(PASSWORD)
        town.centre.execute(
            "UPDATE users SET password_hash = %s, must_change = false WHERE name = 'local.one'", hashed
        )
        local = {"name": "local.one", "password": PASSWORD}
        with town.browser() as other:
            assert other.post(f"{town.centre.base}/api/session", json=local).status_code == 200
        town.provider.fresh_keys()
        town.provider.start()
        with town.browser() as other:
            assert town.walk(other, "s-1").path == "/desk"
