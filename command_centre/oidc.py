"""The city's own identity provider: the authorisation code flow of OpenID Connect Core 1.0, with PKCE (RFC 7636).

What comes back counts when the state is ours and the flow's cookie is this browser's, the issuer is the configured one
(also in the answer's ``iss``, RFC 9207), the code was redeemed by us with the verifier, and the ID token is signed by
a key of the issuer, for us, now, with our nonce. Keys are fetched again when a token names one that is not known, so
that the provider may change them; clocks may differ by a minute.
"""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec
import structlog
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from city.errors import CityError
from city.outgoing import Allowed, Guarded, read_allowed
from city.sealing import KeyRing, SealingError
from city.settings import Settings, SettingsError
from command_centre import oidc_rules
from command_centre.oidc_rules import Rule

SIGNED_BY = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
LEEWAY_S = 60
FLOW_LASTS = timedelta(minutes=10)
KNOWN_FOR = timedelta(hours=1)  # what the provider says of itself
_AGAIN = timedelta(seconds=30)  # unknown keys send us to the provider no more often
_LARGEST = 1_000_000  # bytes of an answer
_SECOND = frozenset(
    {"mfa", "otp", "hwk", "swk", "sc", "fpt", "face", "iris", "retina", "vbm", "sms", "tel", "pop"}
)
_FLOW = b"oidc flow"
_log = structlog.get_logger(__name__)


class ProviderError(CityError):
    """The provider is away, or says what cannot be believed. ``code`` is a word of the log-in page."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """What this browser takes to the provider and back, sealed. ``link``: the account that asks to be linked;
    ``before``: whose session it has now, and which, since its cookie does not come along from another site."""

    state: str
    nonce: str
    verifier: str
    until: datetime
    back: str
    link: int | None = None
    again: bool = False
    before: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who the provider says this is. ``second_factor``: it says that a second one was shown."""

    issuer: str
    subject: str
    claims: Mapping[str, Any] = field(repr=False)
    second_factor: bool


class Provider:
    """The configured provider; nothing is asked of it before somebody wants to log in there."""

    def __init__(self, settings: Settings) -> None:
        """Reads secret and rules; raises SettingsError and RulesError."""
        self.issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._scopes = settings.oidc_scopes
        self._trusts = settings.oidc_second_factor == "trust"
        self._listed = read_allowed(settings.outgoing_hosts)
        self._secret = _read(settings.oidc_client_secret_file, "CITY_OIDC_CLIENT_SECRET_FILE")
        self.rules: tuple[Rule, ...] = ()
        self._said: Mapping[str, Any] = {}
        self._said_until: datetime | None = None
        self._keys: KeySet | None = None
        self._keys_asked: datetime | None = None
        if not self.issuer:
            return
        if not self._client_id:
            raise SettingsError("CITY_OIDC_CLIENT_ID: is empty; the provider gives one for this centre")
        rules = _read(settings.oidc_rules, "CITY_OIDC_RULES")
        if rules is None:
            raise SettingsError(
                "CITY_OIDC_RULES: is empty, so that nobody would have a role; see docs/identity.md"
            )
        self.rules = oidc_rules.read(rules)

    async def begin(
        self,
        ring: KeyRing,
        redirect: str,
        *,
        back: str,
        link: int | None,
        again: bool,
        before: tuple[int, int] | None = None,
        now: datetime,
    ) -> tuple[str, str]:
        """The address at the provider, and the sealed flow for this browser's cookie. Raises ProviderError."""
        said = await self._metadata(now)
        flow = Flow(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            until=now + FLOW_LASTS,
            back=back,
            link=link,
            again=again,
            before=before,
        )
        more = {"prompt": "login", "max_age": 0} if again else {}
        address = prepare_grant_uri(
            said["authorization_endpoint"],
            client_id=self._client_id,
            response_type="code",
            redirect_uri=redirect,
            scope=self._scopes,
            state=flow.state,
            nonce=flow.nonce,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
            **more,
        )
        return address, ring.seal(msgspec.json.encode(flow), _FLOW).hex()

    async def finish(
        self, ring: KeyRing, redirect: str, sealed: str, given: Mapping[str, str], now: datetime
    ) -> tuple[Flow, Person]:
        """Who came back; raises ProviderError. ``given`` is the query that the provider sent them with."""
        flow = _unsealed(ring, sealed, now)
        if not secrets.compare_digest(given.get("state", "").encode(), flow.state.encode()):
            raise ProviderError("state", "the state is not the one of this browser's log-in")
        if "error" in given:
            raise ProviderError("refused", f"the provider answered {given['error'][:100]!r}")
        said = await self._metadata(now)
        named = given.get("iss")
        if named != self.issuer and (named or said.get("authorization_response_iss_parameter_supported")):
            raise ProviderError("state", "the answer names another issuer")
        token = await self._redeemed(said["token_endpoint"], redirect, given.get("code", ""), flow)
        claims = await self._claims(token, flow, now)
        if said.get("userinfo_endpoint"):
            bearer = {"Authorization": f"Bearer {token.get('access_token', '')}"}
            more = await self._ask("GET", said["userinfo_endpoint"], headers=bearer)
            if more.get("sub") != claims["sub"]:  # OpenID Connect Core, 5.3.2
                raise ProviderError("refused", "the provider tells of another person than the ID token")
            claims = {**more, **claims}
        methods = claims.get("amr")
        second = self._trusts or (isinstance(methods, list) and not _SECOND.isdisjoint(map(str, methods)))
        return flow, Person(
            issuer=self.issuer, subject=str(claims["sub"]), claims=claims, second_factor=second
        )

    async def log_out_address(self) -> str | None:
        """Where the provider ends its own session (RP-Initiated Logout 1.0); None when it has no such address or is
        away: our own session is over regardless, and nobody waits for it."""
        with suppress(ProviderError, TimeoutError):
            await asyncio.wait_for(self._metadata(datetime.now(UTC)), 2)
        there = self._said.get("end_session_endpoint")
        return f"{there}?{urlencode({'client_id': self._client_id})}" if there else None

    async def _redeemed(self, address: str, redirect: str, code: str, flow: Flow) -> dict[str, Any]:
        """The tokens for the code, which only who holds the verifier gets (RFC 7636)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": flow.verifier,
        }
        if self._secret is None:
            return await self._ask("POST", address, data={**form, "client_id": self._client_id})
        basic = (quote(self._client_id, safe=""), quote(self._secret, safe=""))  # RFC 6749, 2.3.1
        return await self._ask("POST", address, data=form, auth=basic)

    async def _claims(self, token: Mapping[str, Any], flow: Flow, now: datetime) -> dict[str, Any]:
        """Those of the ID token, when all of it is as it must be (OpenID Connect Core, 3.1.3.7)."""
        raw = str(token.get("id_token", ""))
        try:
            decoded = await self._decoded(raw, now)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self._client_id},
                },
                params={
                    "nonce": flow.nonce,
                    "client_id": self._client_id,
                    "access_token": token.get("access_token"),
                    "max_age": 1 if flow.again else None,
                },
            )
            claims.validate(now=int(now.timestamp()), leeway=LEEWAY_S)
        except JoseError as error:
            raise ProviderError(
                "refused", f"the ID token is not to be believed ({type(error).__name__})"
            ) from error
        began = flow.until - FLOW_LASTS
        if flow.again and float(claims["auth_time"]) < began.timestamp() - LEEWAY_S:
            raise ProviderError("refused", "the provider did not ask for the password again")
        return dict(claims)

    async def _decoded(self, raw: str, now: datetime) -> jwt.Token:
        try:
            return jwt.decode(raw, await self._key_set(now, fresh=False), algorithms=SIGNED_BY)
        except (JoseError, ValueError):
            # Signed by a key that came after the ones we know, or by nobody: one look at the provider tells.
            return jwt.decode(raw, await self._key_set(now, fresh=True), algorithms=SIGNED_BY)

    async def _key_set(self, now: datetime, *, fresh: bool) -> KeySet:
        recently = self._keys_asked is not None and now - self._keys_asked < _AGAIN
        if self._keys is None or (fresh and not recently):
            said = await self._metadata(now)
            self._keys = KeySet.import_key_set(await self._ask("GET", said["jwks_uri"]))  # type: ignore[arg-type]  # checked by it
            self._keys_asked = now
        return self._keys

    async def _metadata(self, now: datetime) -> Mapping[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery 1.0); its issuer must be the configured one."""
        if self._said_until is None or self._said_until < now:
            said = await self._ask("GET", self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if said.get("issuer") != self.issuer or not all(isinstance(said.get(one), str) for one in needed):
                raise ProviderError("away", "the provider describes itself as another, or not at all")
            self._said, self._said_until = said, now + KNOWN_FOR
        return self._said

    async def _ask(self, method: str, address: str, **more: Any) -> dict[str, Any]:
        """The provider's answer, an object of bounded size; redirects are not followed. Raises ProviderError."""
        guarded = Guarded(self._allowed(address))
        try:
            async with (
                httpx.AsyncClient(timeout=10, follow_redirects=False, transport=guarded) as client,
                client.stream(method, address, **more) as answer,
            ):
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _LARGEST:
                        raise ProviderError("away", "the provider answers too much")
            found = msgspec.json.decode(body) if answer.is_success or answer.status_code == 400 else None
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
            raise ProviderError("away", f"the provider does not answer ({type(error).__name__})") from error
        if not isinstance(found, dict):
            raise ProviderError("away", f"the provider answers {answer.status_code}")
        if "error" in found:  # RFC 6749, 5.2
            raise ProviderError("refused", f"the provider refused: {str(found['error'])[:100]}")
        return found

    def _allowed(self, address: str) -> Allowed:
        """Where this may lead: the configured host may stand inside; another that the provider's own description names
        (RFC 8414, 6.2 warns of it) only where CITY_OUTGOING_HOSTS lists it. Raises ProviderError."""
        try:
            there, ours = urlsplit(address), urlsplit(self.issuer)
            hosts = there.hostname, ours.hostname
        except ValueError as error:
            raise ProviderError("away", "the provider names an address that is none") from error
        if ours.scheme == "https" and there.scheme != "https":
            raise ProviderError("away", "the provider names an address without TLS")
        if hosts[0] == hosts[1]:
            return Allowed(private=True)
        return Allowed(private=bool(self._listed), only=self._listed)


def _unsealed(ring: KeyRing, sealed: str, now: datetime) -> Flow:
    try:
        flow = msgspec.json.decode(ring.unseal(bytes.fromhex(sealed), _FLOW), type=Flow)
    except (ValueError, SealingError, msgspec.DecodeError):
        raise ProviderError(
            "state", "this browser has begun no log-in, or another centre has other keys"
        ) from None
    if flow.until < now:
        raise ProviderError("state", "the log-in was begun too long ago")
    return flow


def _read(path: Path | None, name: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise SettingsError(f"{name}: {path} cannot be read ({error.strerror})") from error
