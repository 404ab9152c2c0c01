"""Who answers for what: units with their load."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from city.storage import units
from command_centre.api.answers import answer, gives
from command_centre.api.problem import not_found
from command_centre.api.services import services, transaction
from command_centre.api.session import Known
from command_centre.api.shapes.things import Units

router = APIRouter(prefix="/api", tags=["directory"])


@router.get(
    "/units",
    summary="Units and how many incidents each has open",
    operation_id="list_units",
    responses=gives(Units),
)
def list_units(request: Request) -> Response:
    """Every active unit, by code."""
    with transaction(request) as connection:
        loads = units.list_units(connection)
    items = [
        {
            "code": load.unit.code,
            "name": load.unit.name,
            "name_en": load.unit.name_en,
            "kind": load.unit.kind,
            "parent": load.unit.parent,
            "phone": load.unit.phone,
            "open_incidents": load.open_incidents,
            "tier": load.unit.tier,
            "capacity": load.unit.capacity,
            "fallback": load.unit.fallback,
            "hours": load.unit.hours,
            "lon": load.unit.longitude,
            "lat": load.unit.latitude,
        }
        for load in loads
    ]
    return answer({"items": items, "next": None})


@router.post(
    "/units/{code}/webhook-secret",
    summary="Make a unit's webhook secret anew",
    operation_id="renew_webhook_secret",
)
def renew_webhook_secret(request: Request, code: str, known: Known) -> Response:
    """Answers the secret, this once. Orders are signed with it from now on, the old one no longer serves."""
    keys = services(request).settings.keys.ring()
    with transaction(request) as connection:
        secret = units.new_webhook_secret(connection, keys, code, known.actor)
        if secret is None:
            raise not_found("unit", "单位", code)
    return answer({"unit": code, "secret": secret})
