"""The door of the screens: ``/ws/screen``, open to all, since the wall shows nothing personal."""

from fastapi import APIRouter, WebSocket

from command_centre.api.problem import Problem
from command_centre.api.screen.hub import Hub
from command_centre.api.screen.sender import Screen

router = APIRouter()


@router.websocket("/ws/screen")
async def screen(websocket: WebSocket) -> None:
    """Hello, what the screen missed since ``?epoch=&since=``, then every change: docs/screen-protocol.md."""
    hub: Hub = websocket.app.state.services.hub
    refused = _refused(hub)
    if refused is not None:
        await websocket.send_denial_response(refused.response("/ws/screen"))
        return
    since = websocket.query_params.get("since", "")
    number = int(since) if since.isdecimal() and len(since) < 18 else None
    await Screen(websocket, hub).serve(websocket.query_params.get("epoch"), number)


def _refused(hub: Hub) -> Problem | None:
    if not hub.loaded:
        return Problem(503, "the state is still being loaded", "状态正在加载", headers={"Retry-After": "1"})
    if len(hub.screens) >= hub.most_screens:
        return Problem(
            503, f"{hub.most_screens} screens are connected already", f"已连接 {hub.most_screens} 个屏幕"
        )
    return None
