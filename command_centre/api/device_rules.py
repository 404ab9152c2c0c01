"""Which rules apply to a device, and why these: the answer to "what would make this one ring?"."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from city.devices import DeviceRow
from city.storage import areas, devices, transitions
from command_centre.api.answers import answer
from command_centre.api.problem import not_found
from command_centre.api.services import transaction
from rules.definitions import from_row
from rules.rule import Rule
from rules.scope import Place, Standing, standings

router = APIRouter(prefix="/api/devices", tags=["devices"])


@router.get(
    "/{code}/rules",
    summary="Rules that match a device, and which are in force",
    operation_id="rules_of_device",
)
def rules_of_device(request: Request, code: str) -> Response:
    """Rules of one family compete: the most specific scope is in force, the others say which rule beats them."""
    with transaction(request) as connection:
        rows = devices.load_devices(connection, [code])
        if not rows:
            raise not_found("device", "设备", code)
        device = rows[0]
        above = areas.load_places(connection).get(device.cell_id or 0, {})
        active = [from_row(*row) for row in transitions.active_rules(connection)]
    place = Place(
        code=device.code, kind=device.kind, model=device.model, tags=frozenset(device.tags), places=above
    )
    return answer(
        {"device": code, "items": [_shown(found, device) for found in standings(active, place)], "next": None}
    )


def _shown(found: Standing, device: DeviceRow) -> dict[str, Any]:
    rule = found.rule
    assert isinstance(rule, Rule)  # noqa: S101 - standings answers what it was given
    scope = rule.scope.to_words()
    if found.beaten_by is None:
        why, why_en = f"适用范围：{scope}", f"in force: matches {scope}"
    else:
        why = f"同族中更具体的规则 {found.beaten_by} 优先"
        why_en = f"not in force: rule {found.beaten_by} of the same family is more specific"
    return {
        "rule": rule.rule_id,
        "version": rule.version,
        "name": rule.name,
        "name_en": rule.name_en,
        "family": rule.family,
        "level": rule.level,
        "category": rule.category,
        "in_force": found.beaten_by is None,
        "beaten_by": found.beaten_by,
        "scope": scope,
        "why": why,
        "why_en": why_en,
        "station_levels_m": {
            "warning": device.warning_m,
            "guaranteed": device.guaranteed_m,
            "highest": device.highest_m,
        },
    }
