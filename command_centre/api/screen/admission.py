"""Who sits at a screen: found out when it connects, and looked at again while it stays.

A connection is a stranger's, a paired screen's, a person's with a log-in, or automation's. Who was admitted and may
no longer look is sent away with a code that the page understands.
"""

import hmac
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.websockets import WebSocket

from city.storage import screens as stored
from command_centre import accounts
from command_centre.api.gate import COOKIE, SCREEN_COOKIE
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
    if _bearer(websocket, here.token):
        return AUTOMATION
    demanded = websocket.query_params.get("as") == "staff"
    cookies = websocket.cookies if _own_page(websocket, here.settings.public_url) else {}
    session, token = cookies.get(COOKIE), cookies.get(SCREEN_COOKIE)
    paired_only = here.settings.wall_access == "paired"
    guest = None
    if session:
        async with here.async_pool.connection() as connection:
            guest = await person(connection, session, datetime.now(UTC))
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


async def person(connection: Connection, session: str, now: datetime) -> Guest | None:
    """Whose log-in this is, None when it is over or may only change its password."""
    digest = accounts.digest(session)
    found = (await stored.people(connection, [digest], now)).get(digest)
    if found is None:
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


def _bearer(websocket: WebSocket, token: str | None) -> bool:
    scheme, _, given = websocket.headers.get("authorization", "").partition(" ")
    right = token is not None and scheme.lower() == "bearer"
    return right and hmac.compare_digest(given.strip().encode(), (token or "").encode())


def _own_page(websocket: WebSocket, public_url: str) -> bool:
    """Whether a page of ours opened it, or a program. What another site's page sends with it counts for nothing."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return True
    ours = {websocket.headers.get("host", ""), urlsplit(public_url).netloc} - {""}
    return urlsplit(origin).netloc in ours
