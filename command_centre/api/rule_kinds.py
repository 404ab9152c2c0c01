"""What a form for rules has to know: the keys of each kind with bounds, the words for them, what fired lately."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from city.storage import rule_facts, rules
from command_centre.api.answers import answer, gives
from command_centre.api.services import transaction
from rules.kinds import KINDS
from rules.outline import outline

router = APIRouter(prefix="/api", tags=["rules"])

LATELY = timedelta(days=30)


class RuleKey(TypedDict):
    """One key of a rule file; ``path`` is dotted, ``unit`` is s, metric or empty."""

    path: str
    form: str
    needed: bool
    default: float | str | None
    least: float | None
    most: float | None
    choices: list[str]
    unit: str


class RuleKindOutline(TypedDict):
    type: str
    keys: list[RuleKey]


class MetricWords(TypedDict):
    code: str
    unit: str
    name: str
    name_en: str


class DeviceKindWords(TypedDict):
    code: str
    name: str
    name_en: str
    main_metric: str | None


class RuleKinds(TypedDict):
    items: list[RuleKindOutline]
    metrics: list[MetricWords]
    device_kinds: list[DeviceKindWords]
    next: str | None


class RuleFired(TypedDict):
    rule: str
    last_raised_at: str
    last_30_days: int


class RulesFired(TypedDict):
    items: list[RuleFired]
    next: str | None


@router.get(
    "/rule-kinds",
    summary="What can be written in a rule",
    operation_id="rule_kinds",
    responses=gives(RuleKinds),
)
def rule_kinds(request: Request) -> Response:
    """Each kind's keys as its own reader asks for them, and the metrics and kinds of device that they may name."""
    with transaction(request) as connection:
        metrics = rule_facts.metrics(connection)
        kinds = rule_facts.device_kinds(connection)
    return answer({"items": _outlines(), "metrics": metrics, "device_kinds": kinds, "next": None})


@router.get(
    "/rule-alarms",
    summary="How often each rule fired",
    operation_id="rule_alarms",
    responses=gives(RulesFired),
)
def rule_alarms(request: Request) -> Response:
    """Episodes of the last 30 days and the newest one, by rule, without exercises; silent rules are left out."""
    with transaction(request) as connection:
        items = rules.fired(connection, datetime.now(UTC) - LATELY)
    return answer({"items": items, "next": None})


@lru_cache(maxsize=1)
def _outlines() -> list[dict[str, object]]:
    return [{"type": kind, "keys": [asdict(key) for key in outline(kind)]} for kind in KINDS]
