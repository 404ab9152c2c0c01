"""Public facilities (部件) with their codes: found by place, code and words."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from city import code_forms
from city.components import Component
from city.storage import components, district
from command_centre.api import paging
from command_centre.api.answers import answer, tagged
from command_centre.api.problem import not_found
from command_centre.api.services import transaction

router = APIRouter(prefix="/api", tags=["catalogue"])


@router.get("/components", summary="Public facilities", operation_id="list_components")
def list_components(
    request: Request,
    cell: Annotated[str | None, Query(max_length=128)] = None,
    kind: Annotated[str | None, Query(max_length=100)] = None,
    q: Annotated[
        str | None, Query(max_length=64, description="beginning of a code, part of a name or address")
    ] = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> Response:
    """By code, removed ones left out; `parts` are the code's segments where the district configured its form."""
    after = paging.read(cursor, tuple[str])
    with transaction(request) as connection:
        found = components.page(
            connection, cell=cell, kind=kind, words=q, after=after[0] if after else None, limit=limit + 1
        )
        forms = district.code_forms(connection)
    page = paging.page(found, limit, lambda component: [component.code])
    return answer({**page, "items": [_component(one, forms) for one in page["items"]]})


@router.get("/components/{code}", summary="One public facility", operation_id="get_component")
def get_component(request: Request, code: str) -> Response:
    """Removed ones too: reports of before name them."""
    with transaction(request) as connection:
        found = components.get(connection, code)
        forms = district.code_forms(connection)
    if found is None:
        raise not_found("component", "部件", code)
    return tagged(request, _component(found, forms))


def _component(component: Component, forms: code_forms.CodeForms) -> dict[str, Any]:
    read = code_forms.read_code(component.code, forms.get("component", ()))
    form, parts = (read.form, read.parts) if isinstance(read, code_forms.CodeParts) else ("", {})
    return asdict(component) | {"form": form, "parts": parts}
