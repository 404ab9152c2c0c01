"""The cookies of a log-in: what they are called, where they go, and where they are read.

Under TLS each carries the prefix ``__Host-`` (RFC 6265bis, 4.1.3.2): a browser takes it only from this very host over
TLS, so that no neighbouring host and no plain page can put one of its own in its place. The prefix asks for the path /.
"""

from collections.abc import Mapping

from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE = "city_session"
SCREEN_COOKIE = "city_screen"  # of a paired wall
DEVICE_COOKIE = "city_device"  # of a browser in which somebody logged in before
FLOW_COOKIE = "city_oidc"  # of a log-in that is at the identity provider just now
_LONGEST_S = 400 * 86_400  # what browsers keep at most
_FLOW_S = 600


def over_tls(connection: HTTPConnection, public_url: str) -> bool:
    """Whether people reach the centre by TLS, seen from here or by what the deployer says."""
    return connection.url.scheme in ("https", "wss") or public_url.startswith("https:")


def session_token(cookies: Mapping[str, str], *, tls: bool) -> str | None:
    """The session's cookie; under TLS only the one that nobody else can have put there."""
    return cookies.get(_name(COOKIE, tls=tls))


def screen_token(cookies: Mapping[str, str], *, tls: bool) -> str | None:
    """A paired wall's cookie; also the one without prefix that walls were given before there was one."""
    return cookies.get(_name(SCREEN_COOKIE, tls=tls)) or cookies.get(SCREEN_COOKIE)


def device_token(cookies: Mapping[str, str], *, tls: bool) -> str:
    """The cookie of a browser in which somebody logged in before, empty for a fresh one."""
    return cookies.get(_name(DEVICE_COOKIE, tls=tls), "")


def flow(cookies: Mapping[str, str], *, tls: bool) -> str:
    """What this browser took to the identity provider, empty when it began nothing."""
    return cookies.get(_name(FLOW_COOKIE, tls=tls), "")


def put_session(response: Response, token: str, *, lasts_s: int, tls: bool) -> None:
    response.set_cookie(
        _name(COOKIE, tls=tls),
        token,
        max_age=lasts_s,
        path="/",
        httponly=True,
        samesite="strict",
        secure=tls,
    )


def drop_session(response: Response, *, tls: bool) -> None:
    response.delete_cookie(_name(COOKIE, tls=tls), path="/", httponly=True, samesite="strict", secure=tls)


def put_screen(response: Response, token: str, *, tls: bool) -> None:
    """As long as browsers keep one; the server's own date decides."""
    response.set_cookie(
        _name(SCREEN_COOKIE, tls=tls),
        token,
        max_age=_LONGEST_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=tls,
    )


def put_device(response: Response, token: str, *, tls: bool) -> None:
    """Without TLS sent to the log-in alone."""
    response.set_cookie(
        _name(DEVICE_COOKIE, tls=tls),
        token,
        max_age=_LONGEST_S,
        path="/" if tls else "/api/session",
        httponly=True,
        samesite="strict",
        secure=tls,
    )


def put_flow(response: Response, sealed: str, *, tls: bool) -> None:
    """Lax: the way back from the provider is a navigation that another site began."""
    response.set_cookie(
        _name(FLOW_COOKIE, tls=tls),
        sealed,
        max_age=_FLOW_S,
        path="/" if tls else "/api/oidc",
        httponly=True,
        samesite="lax",
        secure=tls,
    )


def drop_flow(response: Response, *, tls: bool) -> None:
    path = "/" if tls else "/api/oidc"
    name = _name(FLOW_COOKIE, tls=tls)
    response.delete_cookie(name, path=path, httponly=True, samesite="lax", secure=tls)


def _name(name: str, *, tls: bool) -> str:
    return f"__Host-{name}" if tls else name
