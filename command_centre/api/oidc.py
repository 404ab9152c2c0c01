"""To the city's identity provider and back."""

from datetime import UTC, datetime, timedelta

import structlog
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from city.storage import audit, sessions
from city.storage.sessions import Origin
from command_centre import logging_in, oidc_accounts
from command_centre.api.caller import Caller
from command_centre.api.cookies import drop_flow, flow, over_tls, put_flow
from command_centre.api.problem import Problem
from command_centre.api.services import services, transaction
from command_centre.api.session import keys, lasting, set_session, shown_by
from command_centre.oidc import Flow, Person, Provider, ProviderError

router = APIRouter(prefix="/api/oidc", tags=["session"])
_log = structlog.get_logger(__name__)

LOG_IN = "/login"


@router.get("/start", summary="Log in at the provider", operation_id="begin_oidc", status_code=303)
async def begin_oidc(
    request: Request,
    back: str = Query("/desk", max_length=500, description="path to come back to"),
    link: bool = Query(False, description="tie the account that is logged in here to the one there"),
    again: bool = Query(
        False, description="the provider asks for the password even when it knows the browser"
    ),
) -> Response:
    """Sends the browser there. While the provider is away people with a password of their own still log in here."""
    provider = _provider(request)
    here: Caller | None = request.state.caller
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return RedirectResponse(LOG_IN, 303)  # nobody is logged in by following another site's link
    now = datetime.now(UTC)
    if link:
        _may_link(request, here, now)
    try:
        address, sealed = await provider.begin(
            keys(request),
            _redirect(request),
            back=_own_path(back),
            link=here.user_id if link and here else None,
            again=again or link,
            before=(here.user_id, here.session_id) if here and here.user_id and here.session_id else None,
            now=now,
        )
    except ProviderError as error:
        return _back_to_log_in(request, error)
    response = RedirectResponse(address, 303)
    put_flow(response, sealed, tls=over_tls(request, services(request).settings.public_url))
    return response


@router.get("/callback", summary="Back from the provider", operation_id="finish_oidc", status_code=303)
async def finish_oidc(request: Request) -> Response:
    """Opens a session for who the provider vouches for, or goes back to the log-in with why not."""
    provider = _provider(request)
    now = datetime.now(UTC)
    sealed = flow(request.cookies, tls=over_tls(request, services(request).settings.public_url))
    try:
        begun, person = await provider.finish(
            keys(request), _redirect(request), sealed, request.query_params, now
        )
        token = await run_in_threadpool(_open, request, provider, begun, person, now)
    except ProviderError as error:
        await run_in_threadpool(_refused, request, error)
        return _back_to_log_in(request, error)
    response = RedirectResponse(begun.back, 303)
    set_session(request, response, token)
    drop_flow(response, tls=over_tls(request, services(request).settings.public_url))
    return response


def _open(request: Request, provider: Provider, flow: Flow, person: Person, now: datetime) -> str:
    settings = services(request).settings
    given = shown_by(request, "")
    with transaction(request) as connection:
        if flow.link is not None:
            user = oidc_accounts.link(connection, person, flow.link)
        else:
            user = oidc_accounts.admit(connection, provider, person)
        if user.role in settings.roles_with_second_factor and not person.second_factor:
            raise ProviderError("second_factor", "the provider does not say that a second factor was shown")
        origin = Origin(
            address=given.address,
            browser=given.browser,
            second_factor=person.second_factor,
            provider=person.issuer,
        )
        if flow.before is not None:
            sessions.end_one(connection, *flow.before)
        return logging_in.opened(connection, user, origin, lasting(settings), now)


def _may_link(request: Request, here: Caller | None, now: datetime) -> None:
    """A second way into an account is made by who has just shown that it is theirs; raises Problem."""
    if here is None or here.user_id is None:
        raise Problem(401, "log in here first, then link", "请先在本系统登录再关联")
    within = timedelta(minutes=services(request).settings.step_up_minutes)
    if within and here.proven_at is not None and now - here.proven_at > within:
        raise Problem(403, "show again that it is you, then link", "请再次验证身份后再关联", prove=True)


def _refused(request: Request, error: ProviderError) -> None:
    with transaction(request) as connection:
        audit.record(
            connection,
            actor="system",
            action="session.refused",
            subject="user:unknown",
            reason=f"provider: {error.code}",
        )


def _back_to_log_in(request: Request, error: ProviderError) -> Response:
    _log.warning("log-in at the provider failed", code=error.code, why=str(error))
    response = RedirectResponse(f"{LOG_IN}?problem={error.code}", 303)
    drop_flow(response, tls=over_tls(request, services(request).settings.public_url))
    return response


def _provider(request: Request) -> Provider:
    provider: Provider = request.app.state.provider
    if not provider.issuer:
        raise Problem(404, "no identity provider is configured", "未配置统一身份认证")
    return provider


def _redirect(request: Request) -> str:
    base = services(request).settings.public_url or str(request.base_url)
    return base.rstrip("/") + "/api/oidc/callback"


def _own_path(path: str) -> str:
    """A page of ours, whatever the link said: never another host."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else "/desk"
