"""Who may do what: the gate's own table, in words."""

from typing import get_args

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from command_centre import accounts
from command_centre.api.access import ROLES, TABLE, Rule
from command_centre.api.answers import answer, gives
from command_centre.api.reaching import changes, kind_of

router = APIRouter(prefix="/api", tags=["users"])


class RoutePermission(TypedDict):
    """``tag`` is the noun it belongs to; ``roles`` is empty for what needs no log-in; ``changes``: it writes.

    ``reach`` says which rows: docs/access.md.
    """

    tag: str
    method: str
    path: str
    summary: str
    needs: str
    reach: str
    changes: bool
    roles: list[str]


class Permissions(TypedDict):
    roles: list[str]
    items: list[RoutePermission]
    next: str | None


@router.get(
    "/access", summary="What each role may do", operation_id="access_table", responses=gives(Permissions)
)
def access_table(request: Request) -> Response:
    """The gate's own table with the words of each route. What a role may do to an incident in which state is the
    workflow's; a unit's handlers are held to their own unit besides."""
    described = request.app.openapi()["paths"]
    items = []
    for (method, path), needs in TABLE.items():
        route = described.get(path.replace(":int}", "}").replace(":path}", "}"), {}).get(method.lower(), {})
        if not path.startswith("/api/") or not route:
            continue
        rule = Rule(method=method, path=path, needs=needs)
        items.append(
            {
                "tag": route["tags"][0],
                "method": method,
                "path": path,
                "summary": route["summary"],
                "needs": needs,
                "reach": kind_of(rule) or "whole",
                "changes": changes(rule),
                "roles": [
                    role for role in get_args(accounts.Role) if needs in ROLES and role in ROLES[needs]
                ],
            }
        )
    return answer({"roles": list(get_args(accounts.Role)), "items": items, "next": None})
