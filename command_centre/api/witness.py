"""Who saw and did what, for what the routes do not write down themselves: recorded before the answer leaves.

A read that is recorded and cannot be is not answered: nobody sees it unseen. A change that was made is answered, and
the record that failed stands in the log.
"""

from collections.abc import Mapping

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from city.storage import audit
from command_centre.api.problem import unavailable
from command_centre.api.services import AsyncPool
from command_centre.api.tracing import UNKNOWN, template

# What is seen: files that leave with many rows in them, pictures on which people may be, papers, telephone numbers.
# Reading a reporter's contact records itself (report.contact_read).
SEEN: Mapping[str, str] = {
    "/api/register/export": "register.exported",
    "/api/register/export/{file}": "register.exported",
    "/api/register/{thing}/{code}/documents/{document}": "document.read",
    "/api/units/{code}/contacts": "contacts.read",
    "/api/units/{code}/roster": "roster.read",
    "/api/devices/{code}/export": "readings.exported",
    "/api/device-health/availability.csv": "availability.exported",
    "/api/categories.csv": "categories.exported",
    "/api/responsibilities.csv": "responsibilities.exported",
    "/api/rules.toml": "rules.exported",
    "/api/alarms/{alarm_id}/media/{n}": "media.seen",
    "/api/photos/{digest}": "photo.seen",
    "/api/audit": "audit.searched",
    "/api/audit.csv": "audit.exported",
}
# Changes whose routes write their own row, an event of an incident, an alarm or a task, or change nothing.
OWN = (
    "/api/alarms/",
    "/api/areas/changes",
    "/api/buildings",
    "/api/calendar",
    "/api/candidates",
    "/api/categories",
    "/api/components",
    "/api/devices",
    "/api/drills",
    "/api/field/",
    "/api/flood/",
    "/api/handovers",
    "/api/incidents",
    "/api/intake",
    "/api/me/",
    "/api/open311/",
    "/api/orders",
    "/api/patrol/",
    "/api/persons",
    "/api/quarantine/replay",
    "/api/register/",
    "/api/reports",
    "/api/responsibilities",
    "/api/rules",
    "/api/screens",
    "/api/session",
    "/api/tokens",
    "/api/units",
    "/api/urging",
    "/api/users",
    "/open311/",
)


def noted(method: str, path: str) -> str | None:
    """The action under which such a call is recorded here, None for one that is not."""
    route = template(method, path)
    if route == UNKNOWN:
        return None
    if method in {"GET", "HEAD"}:
        return SEEN.get(route)
    return None if route.startswith(OWN) else f"call.{method.lower()}"


_log = structlog.get_logger(__name__)


class Witness:
    """ASGI middleware between the gate and the routes: who was let in stands in the scope's state by now."""

    def __init__(self, app: ASGIApp, *, pool: AsyncPool) -> None:
        self._app = app
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller") if scope["type"] == "http" else None
        action = noted(scope["method"], scope["path"]) if caller is not None else None
        if caller is None or action is None:
            await self._app(scope, receive, send)
            return
        withheld = False

        async def recorded(message: Message) -> None:
            nonlocal withheld
            if message["type"] == "http.response.start" and message["status"] < 400:
                written = await self._record(caller.actor, action, scope)
                if not written and scope["method"] in {"GET", "HEAD"}:
                    withheld = True
                    await unavailable().response(scope["path"])(scope, receive, send)
            if not withheld:
                await send(message)

        await self._app(scope, receive, recorded)

    async def _record(self, actor: str, action: str, scope: Scope) -> bool:
        try:
            async with self._pool.connection() as connection:
                await audit.record(connection, actor=actor, action=action, subject=_subject(scope))
        except (psycopg.Error, PoolTimeout) as error:
            _log.error("could not be recorded", action=action, caller=actor, error=type(error).__name__)
            return False
        return True


def _subject(scope: Scope) -> str:
    """The address without its query, cut where a row would grow."""
    return str(scope["path"])[:300]
