"""A screen server and just enough HTTP for browser tests: real Chromium and sockets, invented content.

It speaks the screen protocol (hello, snapshot, deltas, resume, heartbeat) from state that a test sets, so
that full panels, gaps and silences can be shown on purpose. The product's own hub is tested elsewhere.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

DIST = Path(__file__).parents[2] / "command_centre" / "web" / "dist"
POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'"
HEARTBEAT_S = 2.0

# topic -> key -> value; in a delta None removes the key
Values = dict[str, dict[str, Any]]


def now_text() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Hub:
    """State, its log of deltas, and the screens that follow; all of it lives in the server's loop."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        self.topics: Values = {}
        self.log: list[dict[str, Any]] = []
        self.screens: set[WebSocket] = set()
        self.acknowledged: list[int] = []
        self.connections: list[dict[str, str]] = []
        self.refuse_with: int | None = None  # the code that every connection is closed with
        self.muted = False  # says nothing, not even heartbeats, over sockets that stay open

    def change(self, values: Values, events: list[dict[str, Any]]) -> dict[str, Any]:
        for topic, keys in values.items():
            held = self.topics.setdefault(topic, {})
            for key, value in keys.items():
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value
        delta = {"t": "d", "from": self.seq, "seq": self.seq + 1, "set": values, "ev": events}
        self.seq += 1
        self.log.append(delta)
        return delta

    def greeting(self, epoch: str | None, since: str | None) -> list[dict[str, Any]]:
        hello = {"t": "hello", "epoch": self.epoch, "seq": self.seq}
        if epoch != self.epoch or since is None:
            return [hello, {"t": "snap", "epoch": self.epoch, "seq": self.seq, "set": self.topics}]
        merged: dict[str, Any] = {"t": "d", "from": int(since), "seq": self.seq, "set": {}, "ev": []}
        for delta in self.log:
            if delta["seq"] > int(since):
                for topic, keys in delta["set"].items():
                    merged["set"].setdefault(topic, {}).update(keys)
                merged["ev"] += delta["ev"]
        return [hello, merged]

    async def send(self, frame: dict[str, Any]) -> None:
        if self.muted:
            return
        text = json.dumps({**frame, "now": now_text()}, ensure_ascii=False)
        for screen in list(self.screens):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await screen.send_text(text)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self.send({"t": "d", "from": self.seq, "seq": self.seq, "set": {}, "ev": []})


class MockCentre:
    """Runs in a thread; ``publish`` may be called from the test's own. ``url`` ends without a slash."""

    def __init__(self, *, ground: dict[str, Any], hub: Hub | None = None, port: int = 0) -> None:
        self.renew(ground, hub)
        self._loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            self._app(), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def renew(self, ground: dict[str, Any], hub: Hub | None = None) -> None:
        """As if just made, at the same address: a browser keeps the files that it has of it."""
        self.ground = ground
        self.hub = hub or Hub("mock-1")
        self.answers: dict[str, Any] = {}  # GET path -> JSON body
        self.asked: list[tuple[str, str, Any]] = []  # method, path, body of what changes something
        self.refuse: dict[str, tuple[int, dict[str, Any]]] = {}  # path -> status, problem
        self.versions: list[str | None] = []  # If-Match of each of them
        self.keys: list[str | None] = []  # Idempotency-Key of each of them
        self.user: dict[str, Any] | None = None

    def heard(self, requests: int) -> list[tuple[str, str, Any]]:
        """``asked``, once so many requests have come: a click returns before the browser has sent anything."""
        deadline = time.monotonic() + 60
        while len(self.asked) < requests and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.asked

    @property
    def port(self) -> int:
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the mock screen server did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._in_loop(self._hang_up())
        self._server.should_exit = True
        self._thread.join(20)

    async def _hang_up(self) -> None:
        for screen in list(self.hub.screens):
            with contextlib.suppress(RuntimeError):
                await screen.close()

    def set_state(self, values: Values) -> None:
        """Before a screen connects: what its snapshot holds."""
        self.hub.topics = values

    def publish(self, values: Values, events: list[dict[str, Any]] | None = None) -> None:
        """One delta to every screen."""
        self._in_loop(self.hub.send(self.hub.change(values, events or [])))

    def raw(self, frame: dict[str, Any]) -> None:
        """A frame as it is, wrong ones too."""
        self._in_loop(self.hub.send(frame))

    def _in_loop(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _app(self) -> FastAPI:
        @contextlib.asynccontextmanager
        async def alive(_: FastAPI) -> AsyncIterator[None]:
            self._loop = asyncio.get_running_loop()
            beat = asyncio.create_task(self.hub.beat())
            yield
            beat.cancel()
            self._loop = None

        app = FastAPI(lifespan=alive)

        @app.middleware("http")
        async def policy(request: Request, call_next: Any) -> Response:
            answer: Response = await call_next(request)
            answer.headers["Content-Security-Policy"] = POLICY
            return answer

        app.add_api_websocket_route("/ws/screen", self._screen)
        app.add_api_route(
            "/api/{path:path}", self._api, methods=["GET", "POST", "DELETE"], response_model=None
        )
        app.mount("/assets", StaticFiles(directory=DIST / "assets"))
        for page in (
            "/",
            "/wall",
            "/wall/{rest:path}",
            "/desk",
            "/desk/{rest:path}",
            "/flood",
            "/flood/{rest:path}",
            "/field",
            "/settings",
            "/settings/{rest:path}",
            "/login",
        ):
            app.add_api_route(page, lambda: FileResponse(DIST / "index.html"), response_model=None)
        return app

    async def _screen(self, socket: WebSocket) -> None:
        await socket.accept()
        if self.hub.refuse_with is not None:
            await socket.close(code=self.hub.refuse_with)
            return
        query = socket.query_params
        hub = self.hub
        hub.connections.append(dict(query))
        for frame in hub.greeting(query.get("epoch"), query.get("since")):
            await socket.send_text(json.dumps({**frame, "now": now_text()}, ensure_ascii=False))
        hub.screens.add(socket)
        try:
            while True:
                hub.acknowledged.append(json.loads(await socket.receive_text())["seq"])
        except WebSocketDisconnect:
            hub.screens.discard(socket)

    async def _api(self, path: str, request: Request) -> Response:
        where = f"/api/{path}"
        if where == "/api/wall/map":
            return JSONResponse(self.ground)
        if where == "/api/session":
            return await self._session(request)
        if where == "/api/session/ways":
            return JSONResponse({"provider": None, "shortest_password": 15})
        if request.method != "GET":
            self.versions.append(request.headers.get("If-Match"))
            self.keys.append(request.headers.get("Idempotency-Key"))
            form = request.headers.get("content-type", "").startswith("multipart/")
            body = dict(await request.form()) if form else json.loads(await request.body() or b"null")
            self.asked.append((request.method, where, body))
            status, problem = self.refuse.get(where, (0, {}))
            if status:
                return JSONResponse(problem, status, media_type="application/problem+json")
            return JSONResponse(self.answers.get(where, {}))
        if where in self.answers:
            return JSONResponse(self.answers[where])
        return JSONResponse(
            {"title": "Not found", "detail": where}, 404, media_type="application/problem+json"
        )

    async def _session(self, request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            if body["password"] != "right":
                wrong = {"title": "登录失败", "detail": "用户名或密码不对 · wrong name or password"}
                return JSONResponse(wrong, 401, media_type="application/problem+json")
            self.user = {"name": body["name"], "display_name": "值班员", "role": "dispatcher"}
        if request.method == "DELETE":
            self.user = None
            return Response(status_code=204)
        if self.user is None:
            return JSONResponse({"title": "Log in"}, 401, media_type="application/problem+json")
        return JSONResponse({"user": self.user})


@contextlib.contextmanager
def running(centre: MockCentre) -> Iterator[MockCentre]:
    centre.start()
    try:
        yield centre
    finally:
        centre.stop()
