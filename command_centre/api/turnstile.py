"""How much strangers may send: by address and by contact, counted in the database for all centres together.

The address is the peer's, or what a proxy of CITY_TRUSTED_PROXIES says it is (the server resolves that). Nothing
here is logged: an address is somebody's.
"""

import ipaddress
import math
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from starlette.requests import Request

from city.reports import Contact
from city.storage import report_rates
from city.storage.database import translated
from city.storage.report_rates import What, sender_digest
from command_centre.api.problem import Problem
from command_centre.api.services import services

GUESSES_AT_ONCE = 20  # unknown tracking numbers asked for from one address
GUESS_EVERY = timedelta(minutes=1)
_REMEMBERED = 10_000  # addresses that are refused without asking the database again

Connection = AsyncConnection[Any]
_Refused = OrderedDict[bytes, datetime]


def sender(request: Request) -> bytes:
    """Digest of the address; of an IPv6 address the /64, since one household has all of it."""
    return digest_of(request.client.host if request.client else "")


def digest_of(host: str) -> bytes:
    """The same of an address as it is written."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return sender_digest(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return sender_digest(str(address.ipv4_mapped))
        return sender_digest(str(ipaddress.ip_network((address, 64), strict=False)))
    return sender_digest(str(address))


async def admit(request: Request) -> None:
    """One more report, or something like it, from this address; raises Problem 429."""
    settings = services(request).settings
    now = datetime.now(UTC)
    address = sender(request)
    refused = _refused(request)
    until = refused.get(address)
    if until is not None and until > now:
        raise _later(until - now)
    wait = await _take(
        request,
        "address",
        address,
        now,
        burst=settings.reports_at_once,
        every=timedelta(hours=1) / settings.reports_per_hour,
    )
    if wait is None:
        refused.pop(address, None)
        return
    refused[address] = now + wait
    while len(refused) > _REMEMBERED:
        refused.popitem(last=False)
    raise _later(wait)


async def admit_contact(request: Request, contact: Contact | None) -> None:
    """One more report that names this telephone or mail address: a quarter of what an address may send."""
    settings = services(request).settings
    now = datetime.now(UTC)
    for given in filter(None, (contact.phone, contact.email) if contact else ()):
        digits = "".join(part for part in given if part.isalnum() or part == "@").lower()
        wait = await _take(
            request,
            "contact",
            sender_digest(f"contact {digits}"),
            now,
            burst=math.ceil(settings.reports_at_once / 4),
            every=timedelta(hours=4) / settings.reports_per_hour,
        )
        if wait is not None:
            raise _later(wait)


async def may_guess(request: Request) -> None:
    """Raises Problem 429 for an address that asked for too many tracking numbers that are nobody's."""
    now = datetime.now(UTC)
    with translated():
        async with services(request).async_pool.connection() as connection:
            wait = await report_rates.wait(
                connection, "guess", sender(request), now, burst=GUESSES_AT_ONCE, every=GUESS_EVERY
            )
    if wait is not None:
        raise _later(wait)


async def guessed(request: Request) -> None:
    """It asked for one that is nobody's."""
    await _take(
        request,
        "guess",
        sender(request),
        datetime.now(UTC),
        burst=GUESSES_AT_ONCE,
        every=GUESS_EVERY,
    )


async def count(request: Request, reason: str) -> None:
    """Count something that was turned away."""
    with translated():
        async with services(request).async_pool.connection() as connection:
            await report_rates.refuse(connection, reason, datetime.now(UTC))


async def _take(
    request: Request, what: What, who: bytes, now: datetime, *, burst: int, every: timedelta
) -> timedelta | None:
    """In a transaction of its own: what was tried counts, whatever becomes of it."""
    with translated():
        async with services(request).async_pool.connection() as connection:
            wait = await report_rates.take(connection, what, who, now, burst=burst, every=every)
            if wait is not None:
                await report_rates.refuse(connection, f"rate_{what}", now)
    return wait


def _refused(request: Request) -> _Refused:
    """Process memory is a cache: it spares the database what it would refuse anyway."""
    state = request.app.state
    if not hasattr(state, "refused_senders"):
        state.refused_senders = OrderedDict()
    found: _Refused = state.refused_senders
    return found


def _later(wait: timedelta) -> Problem:
    seconds = max(1, math.ceil(wait.total_seconds()))
    return Problem(
        429,
        f"too many requests from here; try again in {seconds} s, or telephone the hotline",
        f"提交过于频繁，请在 {seconds} 秒后重试，或拨打热线",
        headers={"Retry-After": str(seconds)},
    )
