"""How answers are written: JSON by msgspec (RFC 3339 times with offset), entity tags where they pay."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response


def answer(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of dictionaries, dataclasses and datetimes."""
    return Response(msgspec.json.encode(data), status, dict(headers or {}), "application/json")


def tagged(request: Request, data: object, media_type: str = "application/json") -> Response:
    """JSON with a strong tag over its bytes; 304 when the caller has them already."""
    body = msgspec.json.encode(data)
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type)


def gives(shape: type[object], status: int = 200, words: str = "") -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: what its answer looks like, so that OpenAPI and the screens' types know it.

    ``shape`` is a ``TypedDict`` (of ``typing_extensions``) or a list of one. It describes; ``answer`` does the writing,
    and tests hold real answers against it.
    """
    return {status: {"model": shape, "description": words or "as described"}}


def files(*media_types: str, words: str = "the file") -> dict[int | str, dict[str, Any]]:
    """For the ``responses`` of a route that answers with a file: its media types. ``response_class=Response`` beside
    it says that it is never JSON."""
    content = {
        name.partition(";")[0]: {"schema": {} if name.endswith("json") else {"type": "string"}}
        for name in media_types
    }
    return {200: {"content": content, "description": words}}
