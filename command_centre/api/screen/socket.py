"""The door of the screens: ``/ws/screen``. Who may look at what is decided here, on the server."""

from fastapi import APIRouter, WebSocket
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from city.storage.database import DatabaseError, translated
from command_centre.api.problem import Problem
from command_centre.api.screen import admission
from command_centre.api.screen.guests import FULL, LATER, NOWHERE, Dismissed, Guest
from command_centre.api.screen.sender import Screen, Standing
from command_centre.api.services import Services

router = APIRouter()


@router.websocket("/ws/screen")
async def screen(websocket: WebSocket) -> None:
    """Hello, what the screen missed since ``?epoch=&since=&change=``, then every change: docs/screen-protocol.md."""
    here: Services = websocket.app.state.services
    hub = here.hub
    if not hub.loaded:
        loading = Problem(
            503, "the state is still being loaded", "状态正在加载", headers={"Retry-After": "1"}
        )
        await websocket.send_denial_response(loading.response("/ws/screen"))
        return
    if hub.closing:
        elsewhere = Problem(503, "this centre leaves", "本中心正在停止服务", headers={"Retry-After": "1"})
        await websocket.send_denial_response(elsewhere.response("/ws/screen"))
        return
    asked = websocket.query_params
    try:
        if len(hub.screens) >= hub.most_screens:
            raise Dismissed(FULL, f"{hub.most_screens} screens are connected")
        guest = await _admitted(websocket, here)
        sight = admission.sight_of(guest, asked.get("scope"), asked.get("topics"))
        if not hub.known(sight) or not hub.inside(sight.scope, guest.scope):
            raise Dismissed(NOWHERE, f"scope={sight.scope}: not found"[:40])
    except Dismissed as why:
        # Accepted first: a browser tells its page the code of a close, but nothing of a refused upgrade.
        await websocket.accept()
        await websocket.close(code=why.code, reason=str(why))
        return
    served = Screen(websocket, hub, sight, guest.said())
    hub.guests[served] = guest
    try:
        await served.serve(
            Standing(
                epoch=asked.get("epoch"),
                since=_number(asked.get("since")),
                change=_number(asked.get("change")),
            )
        )
    finally:
        del hub.guests[served]


async def _admitted(websocket: WebSocket, here: Services) -> Guest:
    try:
        with translated():
            return await admission.admit(websocket, here)
    except (PoolTimeout, OperationalError, DatabaseError) as error:
        raise Dismissed(LATER, "the database does not answer") from error


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 18 else None
