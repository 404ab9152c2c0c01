"""What the routes of devices' accounts at the broker answer."""

from typing_extensions import TypedDict


class DeviceCredential(TypedDict):
    """``ends_at`` of the old one of a rotation; ``ended_at`` null = the broker lets it in."""

    device: str
    account: str
    slot: int
    certificate_only: bool
    families: list[str]
    topics: list[str]
    made_at: str
    made_by: str
    reason: str
    ends_at: str | None
    ended_at: str | None
    ended_by: str | None
    last_login_at: str | None
    last_address: str | None


class DeviceCredentials(TypedDict):
    items: list[DeviceCredential]
    next: str | None
    writes: list[str]


class IssuedCredential(TypedDict):
    """``secret`` is told here and nowhere again; null = it comes with a certificate whose CN is ``account``."""

    account: str
    secret: str | None
    old_account: str | None
    old_ends_at: str | None
    writes: list[str]


class SharedLogin(TypedDict):
    account: str
    client_id: str
    address: str
    first_at: str
    last_at: str
    times: int


class UnprotectedDevice(TypedDict):
    """``why``: none = it has no account of its own, unused = it has one and speaks through another."""

    code: str
    why: str
    last_heard_at: str


class BrokerAccounts(TypedDict):
    good: int
    ending: int
    unused: int
    refused_last_day: int
    shared: list[SharedLogin]
    unprotected: list[UnprotectedDevice]
