"""ID tokens that must not be believed: each differs from a good one in one thing."""

import asyncio
import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from city import sealing
from city.settings import Settings
from command_centre.oidc import Person, Provider, ProviderError

ISSUER = "https://id.example"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})
OTHER = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})
GOOD = {
    "iss": ISSUER,
    "sub": "s-1",
    "aud": "city",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 300,
}


class Told(Provider):
    """A provider whose answers are given; ``keys`` are what it says it signs with."""

    def __init__(self, folder: Path) -> None:
        (folder / "rules.toml").write_text('[[rule]]\nclaim = "g"\nvalue = "v"\nrole = "viewer"\n')
        super().__init__(
            Settings(
                _env_file=None,  # type: ignore[call-arg]  # pydantic-settings takes it
                oidc_issuer=ISSUER,
                oidc_client_id="city",
                oidc_rules=folder / "rules.toml",
            )
        )
        self.keys = [KEY.as_dict(private=False)]
        self.issued: Callable[[str], str] = lambda nonce: ""
        self.nonce = ""
        self.asked: list[str] = []
        self.more: dict[str, Any] = {}

    async def _ask(self, method: str, address: str, **more: Any) -> dict[str, Any]:
        self.asked.append(address)
        if address.endswith("openid-configuration"):
            return {
                "issuer": ISSUER,
                "authorization_endpoint": f"{ISSUER}/auth",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
                **self.more,
            }
        if address.endswith("/keys"):
            return {"keys": self.keys}
        return {"id_token": self.issued(self.nonce), "access_token": "a"}

    def walk(self, ring: sealing.KeyRing, *, later: timedelta = timedelta(0), **changed: str) -> Person:
        async def both() -> Person:
            address, sealed = await self.begin(ring, "r", back="/", link=None, again=False, now=NOW)
            query = {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()}
            self.nonce = query["nonce"]
            assert query["code_challenge_method"] == "S256"
            given = {"state": query["state"], "code": "c", **changed}
            return (await self.finish(ring, "r", sealed, given, NOW + later))[1]

        return asyncio.run(both())


@pytest.fixture
def ring(tmp_path: Path) -> sealing.KeyRing:
    return sealing.read_or_make(tmp_path / "data.keys")


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "RS256") -> str:
    return jwt.encode({"alg": algorithm, "kid": "one"}, claims, key, algorithms=[algorithm])


def sealed_with_a_public_key(claims: dict[str, Any]) -> str:
    """The oldest trick: HS256 with the issuer's public key as the secret. No library makes one any more."""
    head = json.dumps({"alg": "HS256", "kid": "one"}).encode()
    body = b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, json.dumps(claims).encode())
    )
    mark = hmac.new(KEY.as_pem(private=False), body, "sha256").digest()
    return (body + b"." + base64.urlsafe_b64encode(mark).rstrip(b"=")).decode()


def unsigned(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return b".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts), b""]).decode()


def test_a_good_one_is_believed(told: Told, ring: sealing.KeyRing) -> None:
    told.issued = lambda nonce: signed({**GOOD, "nonce": nonce, "amr": ["pwd", "otp"]})
    person = told.walk(ring)
    assert (person.subject, person.second_factor) == ("s-1", True)
    told.issued = lambda nonce: signed({**GOOD, "nonce": nonce, "amr": ["pwd"]})
    assert told.walk(ring).second_factor is False


WRONG: dict[str, Callable[[str], str]] = {
    "issuer": lambda nonce: signed({**GOOD, "nonce": nonce, "iss": "https://other.example"}),
    "audience": lambda nonce: signed({**GOOD, "nonce": nonce, "aud": "another"}),
    "audiences": lambda nonce: signed({**GOOD, "nonce": nonce, "aud": ["city", "b"], "azp": "b"}),
    "nonce": lambda nonce: signed({**GOOD, "nonce": "another"}),
    "no nonce": lambda nonce: signed(GOOD),
    "expired": lambda nonce: signed({**GOOD, "nonce": nonce, "exp": GOOD["iat"] - 61}),
    "not yet": lambda nonce: signed({**GOOD, "nonce": nonce, "iat": int(NOW.timestamp()) + 600}),
    "no subject": lambda nonce: signed(
        {key: value for key, value in GOOD.items() if key != "sub"} | {"nonce": nonce}
    ),
    "another key": lambda nonce: signed({**GOOD, "nonce": nonce}, OTHER),
    "no signature": lambda nonce: unsigned({**GOOD, "nonce": nonce}),
    "a public key as a secret": lambda nonce: sealed_with_a_public_key({**GOOD, "nonce": nonce}),
    "no token": lambda nonce: "",
    "at_hash": lambda nonce: signed({**GOOD, "nonce": nonce, "at_hash": "x"}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_that_is_wrong_in_one_thing_is_not(told: Told, ring: sealing.KeyRing, wrong: str) -> None:
    told.issued = WRONG[wrong]
    with pytest.raises(ProviderError) as refused:
        told.walk(ring)
    assert refused.value.code == "refused"


@pytest.mark.parametrize("exp_s", [-30, 30], ids=["just over", "still good"])
def test_clocks_may_differ_by_a_minute(told: Told, ring: sealing.KeyRing, exp_s: int) -> None:
    told.issued = lambda nonce: signed({**GOOD, "nonce": nonce, "exp": int(NOW.timestamp()) + exp_s})
    assert told.walk(ring).subject == "s-1"


def test_a_flow_is_this_browsers_and_short(told: Told, ring: sealing.KeyRing, tmp_path: Path) -> None:
    told.issued = lambda nonce: signed({**GOOD, "nonce": nonce})
    for changed, later in (({"state": "x"}, 0), ({"state": ""}, 0), ({}, 11), ({"iss": "https://other"}, 0)):
        with pytest.raises(ProviderError) as refused:
            told.walk(ring, later=timedelta(minutes=later), **changed)
        assert refused.value.code == "state"
    stranger = sealing.read_or_make(tmp_path / "other.keys")
    with pytest.raises(ProviderError, match="begun no log-in"):
        asyncio.run(told.finish(ring, "r", stranger.seal(b"{}", b"oidc flow").hex(), {}, NOW))
    with pytest.raises(ProviderError, match="begun no log-in"):
        asyncio.run(told.finish(ring, "r", "no hexadecimal", {}, NOW))


def test_a_new_key_is_fetched_once(told: Told, ring: sealing.KeyRing) -> None:
    told.issued = lambda nonce: signed({**GOOD, "nonce": nonce})
    told.walk(ring)
    told.walk(ring)
    assert told.asked.count(f"{ISSUER}/keys") == 1
    fresh = RSAKey.generate_key(2048, parameters={"kid": "two", "use": "sig"})
    told.keys = [fresh.as_dict(private=False)]
    told.issued = lambda nonce: jwt.encode({"alg": "RS256", "kid": "two"}, {**GOOD, "nonce": nonce}, fresh)
    with pytest.raises(ProviderError):
        told.walk(ring)  # asked a moment ago: strangers do not send us there with every word
    told._keys_asked = NOW - timedelta(minutes=1)
    assert told.walk(ring).subject == "s-1"


def test_a_provider_that_names_itself_must_do_so(told: Told, ring: sealing.KeyRing) -> None:
    told.more = {"authorization_response_iss_parameter_supported": True}
    told.issued = lambda nonce: signed({**GOOD, "nonce": nonce})
    with pytest.raises(ProviderError, match="another issuer"):
        told.walk(ring)
    assert told.walk(ring, iss=ISSUER).subject == "s-1"


def test_another_issuer_than_configured_is_away(told: Told, ring: sealing.KeyRing) -> None:
    told.more = {"issuer": "https://other.example"}
    with pytest.raises(ProviderError, match="describes itself"):
        told.walk(ring)


def test_another_host_that_the_provider_names_is_called_only_outside_or_when_listed(tmp_path: Path) -> None:
    """Its description must not lead us into the district's network, nor out of TLS."""
    (tmp_path / "rules.toml").write_text('[[rule]]\nclaim = "g"\nvalue = "v"\nrole = "viewer"\n')

    def asked(address: str, listed: str = "", issuer: str = ISSUER) -> str:
        provider = Provider(
            Settings(
                _env_file=None,  # type: ignore[call-arg]  # pydantic-settings takes it
                oidc_issuer=issuer,
                oidc_client_id="city",
                oidc_rules=tmp_path / "rules.toml",
                outgoing_hosts=listed,
            )
        )
        with pytest.raises(ProviderError) as refused:
            asyncio.run(provider._ask("GET", address))
        return f"{refused.value} {refused.value.__cause__}"

    assert "is on a private network" in asked("https://127.0.0.1:9/keys")
    assert "is not in CITY_OUTGOING_HOSTS" in asked("https://127.0.0.1:9/keys", "keys.example")
    assert "is a link-local or metadata address" in asked("https://169.254.169.254/keys", "169.254.0.0/16")
    for reached in (
        asked("https://127.0.0.1:9/keys", "127.0.0.1"),
        asked("https://127.0.0.1:9/keys", "keys.example", "https://127.0.0.1:9"),  # the issuer's own host
    ):
        assert "not called" not in reached
    assert "without TLS" in asked("http://id.example/keys")
    assert "an address that is none" in asked("https://[broken/keys")
