"""Credentials of devices at the broker: made, rotated without a gap, revoked; each with who and why.

The secret is returned once and kept nowhere: only its hash is stored, and no answer that is stored holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from city import device_topics
from city.broker_accounts import account_name, fresh_secret, hashed
from city.storage import credentials, register
from city.storage.credentials import Credential
from command_centre.actions import ActionError

Connection = AsyncConnection[Any]
OVERLAP = timedelta(
    hours=24
)  # how long the old secret is good beside the new one, unless somebody says otherwise
LONGEST_OVERLAP = timedelta(days=90)


@dataclass(frozen=True, kw_only=True, slots=True)
class Issued:
    """What whoever sets the device up types in. ``secret`` None = it comes with a certificate whose CN is ``account``.

    ``old_account`` is good until ``old_ends_at``; both None where there was none.
    """

    account: str
    secret: str | None
    old_account: str | None
    old_ends_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What somebody asks for; ``families`` and ``topics`` None = those of the account that is replaced."""

    families: Sequence[str] | None = None
    topics: Sequence[str] | None = None
    certificate_only: bool = False
    overlap: timedelta = OVERLAP
    reason: str


async def issue(connection: Connection, code: str, wanted: Wanted, *, now: datetime, actor: str) -> Issued:
    """Give a device an account, or a second one for as long as the first is being replaced; raises ActionError."""
    _check(wanted)
    device_id, old = await _replaced(connection, code)
    families, topics = wanted.families, wanted.topics
    if old is not None:
        families = old.families if families is None else families
        topics = old.topics if topics is None else topics
    grants = {"families": sorted(set(families or ())), "topics": sorted(set(topics or ()))}
    slot = 1 if old is None else 3 - old.slot
    account = account_name(code, device_id, slot)
    secret = None if wanted.certificate_only else fresh_secret()
    await credentials.add(
        connection,
        device_id,
        account=account,
        slot=slot,
        secret_hash=None if secret is None else hashed(secret),
        by=actor,
        reason=wanted.reason,
        **grants,
    )
    ends_at = None if old is None else now + wanted.overlap
    detail: dict[str, object] = {"account": account, **grants}
    if old is not None and ends_at is not None:
        await credentials.end_later(connection, old.account, ends_at)
        detail |= {"old": old.account, "ends": ends_at.isoformat()}
    action = "device.credential_made" if old is None else "device.credential_rotated"
    await register.record(connection, action, code, actor=actor, reason=wanted.reason, detail=detail)
    await register.nudge(connection)
    old_account = None if old is None else old.account
    return Issued(account=account, secret=secret, old_account=old_account, old_ends_at=ends_at)


async def _replaced(connection: Connection, code: str) -> tuple[int, Credential | None]:
    """The device, locked, and the account it has; raises ActionError where there can be no further one."""
    found = await credentials.device(connection, code)
    if found is None:
        raise _no_device(code)
    device_id, registration = found
    if registration == "retired":
        raise ActionError("conflict", f"设备“{code}”已注销", f"{code!r} is retired; claim it first", "device")
    good = [one for one in await credentials.of_device(connection, code) if one.ended_at is None]
    if len(good) == 2:
        names = " or ".join(repr(one.account) for one in good)
        raise ActionError(
            "conflict",
            f"设备“{code}”已有两个账号（正在轮换）：请先吊销其中一个",
            f"{code!r} has two accounts, it is being rotated; revoke {names} first",
            "device",
        )
    return device_id, good[0] if good else None


async def revoke(
    connection: Connection, code: str, account: str, *, actor: str, reason: str
) -> list[Credential]:
    """End one at once; the broker closes its connection as soon as it has read its files again. Raises ActionError."""
    if await credentials.device(connection, code) is None:
        raise _no_device(code)
    known = {one.account for one in await credentials.of_device(connection, code) if one.ended_at is None}
    if account not in known or not await credentials.end(connection, account, by=actor):
        raise ActionError(
            "not_found",
            f"设备“{code}”没有在用账号“{account}”",
            f"{code!r} has no account {account!r} that is good",
            "account",
        )
    await register.record(
        connection, "device.credential_revoked", code, actor=actor, reason=reason, detail={"account": account}
    )
    await register.nudge(connection)
    return await credentials.of_device(connection, code)


def _check(wanted: Wanted) -> None:
    for family in wanted.families or ():
        if family not in device_topics.ROOTS:
            known = ", ".join(sorted(device_topics.ROOTS))
            raise ActionError(
                "invalid", f"没有这种外部设备“{family}”，可选：{known}", f"known are {known}", "families"
            )
    for topic in wanted.topics or ():
        why = device_topics.fault(topic)
        if why is not None:
            raise ActionError("invalid", f"主题过滤器“{topic[:80]}”不可用", f"{topic[:80]!r} {why}", "topics")


def _no_device(code: str) -> ActionError:
    return ActionError("not_found", f"没有设备“{code}”", f"there is no device {code!r}", "device")
