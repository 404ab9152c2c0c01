"""Accounts, sessions, second factors and tokens as they are told."""

from datetime import datetime

from typing_extensions import TypedDict


class LogInWays(TypedDict):
    """``provider``: what the city's identity provider is called; None without one."""

    provider: str | None
    shortest_password: int


class Me(TypedDict):
    name: str
    display_name: str
    role: str
    must_change: bool
    must_enrol: bool
    unit: str | None
    scope: str | None
    by_provider: bool
    city: bool


class WhoAmI(TypedDict):
    user: Me


SessionOpened = WhoAmI


class SessionRow(TypedDict):
    """A log-in that holds; ``current``: the one that asks."""

    id: int
    address: str
    browser: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    second_factor: bool
    by_provider: bool
    current: bool


class SessionPage(TypedDict):
    items: list[SessionRow]
    next: str | None


class FactorState(TypedDict):
    """``since`` None: none is asked for."""

    since: datetime | None
    codes_left: int
    required: bool


class FactorBegun(TypedDict):
    """Shown once: ``secret`` in base 32 to type, ``address`` and ``picture`` (SVG) to scan."""

    secret: str
    address: str
    picture: str


class RecoveryCodes(TypedDict):
    """Shown once; each serves once in place of a code."""

    recovery_codes: list[str]


class Account(TypedDict):
    name: str
    display_name: str
    role: str
    unit: str | None
    scope: str | None
    must_change: bool
    disabled: bool
    locked_until: datetime | None
    created_at: datetime
    second_factor: bool
    by_provider: bool


class AccountPage(TypedDict):
    items: list[Account]
    next: str | None


class AccountChanged(TypedDict):
    user: Account


class AccountMade(TypedDict):
    """``one_time_secret`` opens one log-in, and is told this once."""

    user: Account
    one_time_secret: str


class TokenRow(TypedDict):
    id: int
    name: str
    role: str
    only_reads: bool
    scope: str | None
    unit: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None
    state: str


class TokenPage(TypedDict):
    items: list[TokenRow]
    next: str | None


class TokenMade(TypedDict):
    """``secret`` is the token itself, told this once."""

    token: TokenRow
    secret: str
