"""My own sessions: where I am logged in, and ending that."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from city.storage import audit, sessions
from command_centre.api.answers import answer, gives
from command_centre.api.problem import not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known, session_of
from command_centre.api.shapes.accounts import SessionPage

router = APIRouter(prefix="/api/me/sessions", tags=["session"])


@router.get("", summary="Where I am logged in", operation_id="my_sessions", responses=gives(SessionPage))
def my_sessions(request: Request, known: Known) -> Response:
    """The one used last first. `seen_at` is to the minute."""
    user_id, current = session_of(request, known)
    with transaction(request) as connection:
        rows = sessions.listed(connection, user_id, datetime.now(UTC))
    return answer({"items": [{**row, "current": row["id"] == current} for row in rows], "next": None})


@router.delete("/{session_id:int}", status_code=204, summary="End one of them", operation_id="end_my_session")
def end_my_session(request: Request, session_id: int, known: Known) -> Response:
    """Screens that were opened with it are sent away within seconds."""
    user_id, _ = session_of(request, known)
    with transaction(request) as connection:
        if not sessions.end_one(connection, user_id, session_id):
            raise not_found("session of yours", "您的登录", session_id)
        audit.record(connection, actor=known.actor, action="session.ended", subject=known.actor)
    return Response(status_code=204)


@router.delete("", status_code=204, summary="End all others", operation_id="end_my_other_sessions")
def end_my_other_sessions(request: Request, known: Known) -> Response:
    """This one stays."""
    user_id, current = session_of(request, known)
    with transaction(request) as connection:
        ended = sessions.end_sessions(connection, user_id, keep=current)
        audit.record(
            connection,
            actor=known.actor,
            action="session.ended",
            subject=known.actor,
            detail={"sessions": ended},
        )
    return Response(status_code=204)
