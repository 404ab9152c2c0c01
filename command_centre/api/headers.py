"""What every answer carries so that a browser asks nobody else and runs nothing that is not ours."""

from collections.abc import Iterable, Mapping

from starlette.datastructures import MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_centre.api.problem import Problem

POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self'",  # the screens' WebSocket too: CSP 3 matches ws and wss of the same host
        "img-src 'self' data:",
        "media-src 'self'",
        "style-src 'self'",
        "script-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# What is data and no page: should somebody open it as one, it runs and shows nothing.
DATA_POLICY = "default-src 'none'; img-src 'self' data:; media-src 'self'; frame-ancestors 'none'; sandbox"
DATA = ("/api/", "/open311/", "/cap/", "/sensorthings/", "/openapi.json", "/metrics")
ALWAYS: Iterable[tuple[str, str]] = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Origin-Agent-Cluster", "?1"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=(self), payment=(), usb=(), serial=()"),
)
LARGEST_BODY = 1024 * 1024
# Where more is wanted than JSON: five photos of 10 MB with the fields around them.
PHOTOS = 51 * 1024 * 1024
LISTS = 101 * 1024 * 1024  # 200,000 devices with everything that is known of them have 60 MB
PAPERS = 101 * 1024 * 1024  # five documents of 20 MB
SHEET = 5 * 1024 * 1024 + 64 * 1024  # and what a form adds around it
LARGER: Mapping[tuple[str, str], int] = {
    ("POST", "/api/reports"): PHOTOS,
    ("POST", "/api/reports/{tracking}/more"): PHOTOS,
    ("POST", "/api/photos"): PHOTOS,
    ("POST", "/api/categories/import"): SHEET,
    ("POST", "/api/register/import"): LISTS,
    ("POST", "/api/register/{thing}/{code}/papers"): PAPERS,
    ("POST", "/open311/v2/requests.{form}"): PHOTOS,
}
_LARGER = [(method, compile_path(path)[0], most) for (method, path), most in LARGER.items()]


class Headers:
    """ASGI middleware, the outermost: adds the headers, and turns away bodies nobody here wants."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS:
                    headers[name] = value
                if scope["path"].startswith(DATA):
                    headers["Content-Security-Policy"] = DATA_POLICY
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = _too_large(scope)
        if refused is not None:
            await refused.response(scope["path"])(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def _too_large(scope: Scope) -> Problem | None:
    given = {
        name: value for name, value in scope["headers"] if name in {b"content-length", b"transfer-encoding"}
    }
    if b"transfer-encoding" in given:
        return Problem(411, "send the body with a Content-Length", "请附带 Content-Length 发送内容")
    length = given.get(b"content-length", b"0")
    most = _most(scope)
    if not length.isdigit() or int(length) > most:
        return Problem(413, f"a body may have {most} bytes", f"内容最多 {most} 字节")
    return None


def _most(scope: Scope) -> int:
    for method, pattern, most in _LARGER:
        if scope["method"] == method and pattern.match(scope["path"]):
            return most
    return LARGEST_BODY
