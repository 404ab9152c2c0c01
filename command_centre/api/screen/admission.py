"""Who sits at a screen: found out when it connects, and looked at again while it stays.

A connection is a stranger's, a paired screen's, a person's with a log-in, or automation's. Who was admitted and may
no longer look is sent away with a code that the page understands.
"""

import hmac
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.websockets import WebSocket

from city.settings import Settings
from city.storage import screens as stored
from command_centre import accounts, tokens
from command_centre.api.cookies import over_tls, screen_token, session_token
from command_centre.api.screen.guests import (
    AUTOMATION,
    FAULTY,
    SESSION,
    STRANGER,
    UNPAIRED,
    Connection,
    Dismissed,
    Guest,
    still_holds,
)
from command_centre.api.screen.sight import ON_REQUEST, Sight, wanted_topics
from command_centre.api.services import Services


async def admit(websocket: WebSocket, here: Services) -> Guest:
    """Raises Dismissed. Asks the database only when something was shown that has to be looked up."""
    given = _bearer(websocket)
    if here.token is not None and hmac.compare_digest(given.encode(), here.token.encode()):
        return AUTOMATION
    if tokens.looks_right(given):
        async with here.async_pool.connection() as connection:
            return await program(connection, given, datetime.now(UTC))
    demanded = websocket.query_params.get("as") == "staff"
    cookies = websocket.cookies if _own_page(websocket, here.settings.public_url) else {}
    tls = over_tls(websocket, here.settings.public_url)
    session, token = session_token(cookies, tls=tls), screen_token(cookies, tls=tls)
    paired_only = here.settings.wall_access == "paired"
    guest = None
    if session:
        async with here.async_pool.connection() as connection:
            guest = await person(connection, session, here.settings, datetime.now(UTC))
    if guest is not None:
        return guest
    if demanded:
        raise Dismissed(SESSION, "log in first")
    if token:
        async with here.async_pool.connection() as connection:
            try:
                return await screen(connection, token, datetime.now(UTC))
            except Dismissed:
                if paired_only:
                    raise
    if paired_only:
        raise Dismissed(UNPAIRED, "only paired screens may look")
    return STRANGER


async def program(connection: Connection, token: str, now: datetime) -> Guest:
    """Whose token this is; raises Dismissed with what a log-in that is over is told."""
    digest = accounts.digest(token)
    found = (await stored.people(connection, [digest], now)).get(digest)
    if found is None:
        raise Dismissed(SESSION, "this token does not hold")
    return Guest(kind="automation", role=found.role, unit=found.unit, scope=found.scope, session=digest)


async def person(connection: Connection, session: str, settings: Settings, now: datetime) -> Guest | None:
    """Whose log-in this is, None when it is over or may only change its password or add a second factor."""
    digest = accounts.digest(session)
    found = (await stored.people(connection, [digest], now)).get(digest)
    if found is None or (found.role in settings.roles_with_second_factor and not found.second_factor):
        return None
    return Guest(kind="person", role=found.role, unit=found.unit, scope=found.scope, session=digest)


async def screen(connection: Connection, token: str, now: datetime) -> Guest:
    """The paired screen of this cookie; raises Dismissed with why it is none."""
    found = await stored.by_token(connection, accounts.digest(token))
    if found is None:
        raise Dismissed(UNPAIRED, "this screen is not paired")
    still_holds(found, now)
    return Guest(
        kind="screen", screen=found.id, name=found.name, scope=found.scope, expires_at=found.expires_at
    )


def sight_of(guest: Guest, scope: str | None, topics: str | None) -> Sight:
    """What this guest sees of what was asked for; raises Dismissed for topics that do not exist.

    What is asked for narrows what the account or the paired screen reaches, and never widens it: ``Hub.inside``.
    Another system (integrator) sees what strangers see, nothing that people typed.
    """
    wanted = wanted_topics(topics)
    if wanted is None:
        raise Dismissed(FAULTY, "topics= names one that is not there")
    staff = guest.kind in ("person", "automation") and guest.role != "integrator"
    own = guest.unit or "" if guest.role == "handler" else None
    if not staff or own is not None:
        wanted = tuple(topic for topic in wanted if topic not in ON_REQUEST)
    return Sight(
        audience="staff" if staff else "public",
        scope=scope or guest.scope,
        unit=own,
        topics=wanted,
    )


def _bearer(websocket: WebSocket) -> str:
    scheme, _, given = websocket.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _own_page(websocket: WebSocket, public_url: str) -> bool:
    """Whether a page of ours opened it, or a program. What another site's page sends with it counts for nothing."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return True
    ours = {websocket.headers.get("host", ""), urlsplit(public_url).netloc} - {""}
    return urlsplit(origin).netloc in ours
