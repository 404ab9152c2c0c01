"""The suggestion for an incident: who would have it now and why, so that a person needs one click."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from city.clocks import STAGES
from city.directory import Directory
from city.incidents import FINAL
from city.storage import directory as stored
from city.units import Unit
from command_centre import dispatch, finding
from command_centre.api import links
from command_centre.api.answers import answer, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import async_transaction, known_directory
from command_centre.api.shapes.incidents import Suggestion

router = APIRouter(prefix="/api/incidents", tags=["dispatch"])


@router.get(
    "/{incident_id}/suggestion",
    summary="Who would get it now",
    operation_id="suggest_unit",
    responses=gives(Suggestion),
)
async def suggest_unit(request: Request, incident_id: int) -> Response:
    """The list's decision as of now, whether or not it would go by itself, with the other units and why not they.

    `nearby` is open work around it, the suggested unit's first: one trip may serve both.
    """
    now = datetime.now(UTC)
    async with async_transaction(request) as connection:
        row = await stored.matter(connection, incident_id)
        if row is None:
            raise not_found("incident", "事件", incident_id)
        if row["state"] in FINAL:
            raise Problem(
                409,
                f"incident {row['number']} is {row['state']}: nobody is to be sent",
                f"事件{row['number']}已结束（{row['state']}），无需派遣",
                state=row["state"],
            )
        cells = {row["area_id"]} if row["area_id"] is not None else set()
        directory = await known_directory(request).fresh(connection, now, cells)
        returned = await stored.passed_over(connection, [incident_id])
        decision = dispatch.decide(_matter(row, returned.get(incident_id, frozenset())), directory, now)
        suggested = decision.suggestion.id if decision.suggestion is not None else None
        nearby = await finding.nearby(connection, incident_id=incident_id, unit_id=suggested)
    return answer(
        {
            "incident": incident_id,
            **shown(decision, directory),
            "nearby": [links.shown(one) for one in nearby],
        }
    )


def _matter(row: Mapping[str, Any], returned: frozenset[int]) -> dispatch.Matter:
    return dispatch.Matter(
        category=row["category"],
        cell_id=row["area_id"],
        alarm_class=row["base_class"],
        nature=row["nature"],
        source=row["source"],
        longitude=row["longitude"],
        latitude=row["latitude"],
        passed_over=returned,
    )


def shown(decision: dispatch.Decision, directory: Directory) -> dict[str, Any]:
    """A decision as screens read it."""
    return {
        "unit": _unit(decision.suggestion, directory),
        "co_units": [_unit(directory.units[unit_id], directory) for unit_id in decision.co_units],
        "automatic": decision.automatic,
        "class": decision.incident_class,
        "event_level": decision.event_level,
        "nature": decision.nature,
        "steps": decision.steps,
        "due_at": decision.due_at,
        "limits": {stage: str(decision.limits[stage]) for stage in STAGES if stage in decision.limits},
        "reason": decision.reason,
        "reason_en": decision.reason_en,
        "alternatives": [
            {"unit": _unit(other.unit, directory), "reason": other.reason, "reason_en": other.reason_en}
            for other in decision.alternatives
        ],
    }


def _unit(unit: Unit | None, directory: Directory) -> dict[str, Any] | None:
    if unit is None:
        return None
    return {
        "code": unit.code,
        "name": unit.name,
        "name_en": unit.name_en,
        "phone": unit.phone,
        "full": unit.capacity is not None and directory.open_work.get(unit.id, 0) >= unit.capacity,
        "capacity": unit.capacity,
    }
