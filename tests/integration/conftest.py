"""Every answer that any integration test gets is held against what the API says its route answers."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter
from starlette.routing import compile_path

from command_centre.api.app import routes


@cache
def _adapter(method: str, pattern: Any, status: int) -> TypeAdapter[Any]:
    """Made for what is answered, not for every route: three hundred of them take seconds."""
    return TypeAdapter(next(s[status] for m, p, s in _described() if (m, p) == (method, pattern)))


@cache
def _described() -> list[tuple[str, Any, dict[int, Any]]]:
    """Method, pattern and shapes by status, in the order in which the router looks."""
    found = []
    for context in iter_route_contexts(routes().routes):
        route = context.route
        if not isinstance(route, APIRoute):
            continue
        shapes = {
            status: said["model"]
            for status, said in route.responses.items()
            if isinstance(status, int) and "model" in said
        }
        pattern = compile_path(str(context.path))[0]
        found += [(method, pattern, shapes) for method in route.methods]
    return found


def departures(answer: httpx.Response) -> str:
    """Where the answer is not what its route says; empty when it is, or when nothing is said."""
    request = answer.request
    for method, pattern, shapes in _described():
        if request.method == method and pattern.match(request.url.path):
            if answer.status_code not in shapes:
                return ""
            shape = _adapter(method, pattern, answer.status_code)
            body = answer.json()
            return _difference(body, shape.dump_python(shape.validate_python(body), mode="json"), "")
    return ""


def _difference(given: Any, described: Any, at: str) -> str:
    """The first field that the shape does not know."""
    if isinstance(given, dict) and isinstance(described, dict):
        for name, value in given.items():
            if name not in described:
                return f"{at}.{name} is answered but not described"
            if found := _difference(value, described[name], f"{at}.{name}"):
                return found
    if isinstance(given, list) and isinstance(described, list):
        for one, other in zip(given, described, strict=True):
            if found := _difference(one, other, f"{at}[]"):
                return found
    return ""


@pytest.fixture(
    params=["migrated_url", pytest.param("timescale_migrated_url", marks=pytest.mark.slow)],
    ids=["postgres", "timescale"],
)
def either_migrated_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database for what TimescaleDB does no otherwise: on it in the long run only.

    Where chunks and hypertables matter, ask for `any_migrated_url`.
    """
    return str(request.getfixturevalue(request.param))


@pytest.fixture(autouse=True, scope="session")
def _answers_are_as_described() -> Iterator[None]:
    send = httpx.Client.send

    def checked(self: httpx.Client, request: httpx.Request, **how: Any) -> httpx.Response:
        answer = send(self, request, **how)
        if answer.headers.get("content-type", "").startswith("application/json"):
            answer.read()
            assert departures(answer) == "", f"{request.method} {request.url.path}"
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", checked)
        yield
