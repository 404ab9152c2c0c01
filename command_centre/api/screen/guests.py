"""Who looks at screens, and whether they still may: the reasons for which a screen is sent away."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection

from city.storage import screens as stored

Connection = AsyncConnection[Any]

SESSION = 4401  # log in, again
UNPAIRED = 4403  # this wall shows itself to paired screens only
NOWHERE = 4404  # no such scope, or not this screen's
CHANGED = 4409  # who looks has another role, unit or scope: come back
EXPIRED = 4410
REVOKED = 4411
FAULTY = 4422
FULL = 4503
LATER = 1013
LEAVING = 1012  # RFC 6455 as registered: service restart; come back, and be let in by another centre

Kind = Literal["stranger", "screen", "person", "automation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """Who looks. ``session`` is the digest of a log-in's token, ``screen`` a paired screen's number."""

    kind: Kind
    role: str = ""
    unit: str | None = None
    session: bytes | None = None
    screen: int | None = None
    name: str = ""
    scope: str | None = None
    expires_at: datetime | None = None

    def said(self) -> dict[str, object]:
        """What the first frame tells the page about itself."""
        if self.screen is None:
            return {}
        return {"screen": {"name": self.name, "expires_at": self.expires_at, "scope": self.scope}}


STRANGER = Guest(kind="stranger")
AUTOMATION = Guest(kind="automation", role="administrator")


class Dismissed(Exception):  # noqa: N818  # not a fault: the screen's right to look has ended
    """The screen is sent away; ``code`` is one of docs/screen-protocol.md, so that the page can say why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def gone(connection: Connection, guests: Iterable[Guest], now: datetime) -> dict[Guest, Dismissed]:
    """Those who may no longer look, and why. Notes that paired screens are in use."""
    guests = list(guests)
    sessions = [guest.session for guest in guests if guest.session is not None]
    numbers = [guest.screen for guest in guests if guest.screen is not None]
    people = await stored.people(connection, sessions, now) if sessions else {}
    screens = await stored.seen(connection, numbers, now) if numbers else {}
    found: dict[Guest, Dismissed] = {}
    for guest in guests:
        try:
            if guest.session is not None:
                _same_person(guest, people.get(guest.session))
            elif guest.screen is not None:
                _same_screen(guest, screens.get(guest.screen), now)
        except Dismissed as why:
            found[guest] = why
    return found


def _same_person(guest: Guest, now_is: stored.Person | None) -> None:
    if now_is is None:
        raise Dismissed(SESSION, "the session has ended")
    if (now_is.role, now_is.unit, now_is.scope) != (guest.role, guest.unit, guest.scope):
        raise Dismissed(CHANGED, "another role, unit or area")


def _same_screen(guest: Guest, now_is: stored.PairedScreen | None, now: datetime) -> None:
    if now_is is None:
        raise Dismissed(REVOKED, "this screen was removed")
    still_holds(now_is, now)
    if now_is.scope != guest.scope:
        raise Dismissed(CHANGED, "another scope")


def still_holds(paired: stored.PairedScreen, now: datetime) -> None:
    if paired.revoked_at is not None:
        raise Dismissed(REVOKED, "access was withdrawn")
    if paired.expires_at <= now:
        raise Dismissed(EXPIRED, "access has ended")
