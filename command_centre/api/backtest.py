"""Back-tests of rules over HTTP: an answer at once when it is quick, else a place to ask again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from command_centre.api.answers import answer
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import services, transaction
from command_centre.api.session import Known
from command_centre.backtest_jobs import BusyError, Job, Jobs
from command_centre.backtest_report import MarkedEvent
from command_centre.backtest_rules import active_rows, version_row
from command_centre.backtest_worker import Order, RuleRow
from rules.definitions import from_row, to_rows

router = APIRouter(prefix="/api/rules/backtest", tags=["rules"])

ANSWER_WITHIN_S = 3.0
MOST_ROWS = 100_000_000
MOST_SECONDS = 300.0
_LOOK_EVERY_S = 0.2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Code = Annotated[str, Field(min_length=1, max_length=100)]


class Mark(BaseModel):
    """An event that a person knows of."""

    device: _Code
    onset: AwareDatetime
    end: AwareDatetime
    label: str = Field("", max_length=200)


class Question(BaseModel):
    """Rules in one of three ways, a span of event time, and what to hold the outcome against."""

    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    rules: list[dict[str, Any]] | None = Field(
        None, max_length=50, description="Definitions, each with its id"
    )
    toml: str | None = Field(None, max_length=200_000, description="A rule file")
    rule_ids: list[_Code] | None = Field(None, max_length=50, description="id or id@version of the database")
    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="to")
    devices: list[_Code] | None = Field(None, min_length=1, max_length=10_000)
    marks: list[Mark] | None = Field(None, max_length=20_000)
    before_h: float = Field(6, ge=0, le=240, description="Hours ahead of an onset that count for it")
    late_after_min: float = Field(5, ge=0, le=10_000)
    compare_with_active: bool = False
    as_observed: bool = Field(False, description="As if nothing had arrived late")
    listening: Literal["recorded", "always"] = "recorded"
    tick_s: float | None = Field(None, ge=1, le=86_400)


@router.post("", summary="Replay stored history through rules", operation_id="backtest_rules")
async def backtest(request: Request, question: Question, known: Known) -> Response:
    """200 with the report when it is done within three seconds, else 202 with where to ask for it.

    Nothing is written: neither alarms nor rule states. It ends when the caller goes.
    """
    order = await run_in_threadpool(_order, request, question)
    jobs = _jobs(request)
    try:
        job = await jobs.start(known.actor, order)
    except BusyError as busy:
        raise _busy(busy) from busy
    waited = 0.0
    while job.state == "running" and waited < ANSWER_WITHIN_S:
        if await request.is_disconnected():
            await jobs.cancel(job)
            break
        try:
            await asyncio.wait_for(job.ended.wait(), _LOOK_EVERY_S)
        except TimeoutError:
            waited += _LOOK_EVERY_S
    if job.state != "running":
        await job.ended.wait()
    return _said(job, fresh=True)


@router.get("/{key}", summary="How a back-test stands", operation_id="backtest_state")
async def look(request: Request, key: str, known: Known) -> Response:
    """Progress, or the report. Who asked for it has to keep asking: after 30 s it counts as abandoned."""
    job = await _own(request, key, known.actor, known.role)
    return _said(job)


@router.delete("/{key}", summary="Cancel a back-test", operation_id="cancel_backtest")
async def cancel(request: Request, key: str, known: Known) -> Response:
    """One that has ended stays as it is."""
    job = await _own(request, key, known.actor, known.role)
    await _jobs(request).cancel(job)
    return _said(await _own(request, key, known.actor, known.role))


def _jobs(request: Request) -> Jobs:
    return services(request).backtests


async def _own(request: Request, key: str, actor: str, role: str) -> Job:
    job = await _jobs(request).look(key)
    if job is None or (job.owner != actor and role != "administrator"):
        raise not_found("back-test", "回测", key)
    return job


def _busy(busy: BusyError) -> Problem:
    return Problem(
        429,
        str(busy),
        "您已有一个回测在运行，请等待或取消" if busy.running else "正在运行的回测过多，请稍后再试",
        headers={"Retry-After": "10"},
        running=busy.running,
    )


def _said(job: Job, *, fresh: bool = False) -> Response:
    if job.state == "failed":
        raise Problem(422, job.error or "the back-test failed", f"回测失败：{job.error}", id=job.key)
    body = {
        "id": job.key,
        "state": job.state,
        "progress": {"done": job.done, "expected": job.expected},
        "report": None if job.report is None else msgspec.Raw(job.report),
    }
    if fresh and job.state == "running":
        return answer(body, 202, {"Location": f"/api/rules/backtest/{job.key}", "Retry-After": "1"})
    return answer(body)


# ── the question as the worker takes it ──────────────────────────────────────────────────────────────


def _order(request: Request, question: Question) -> Order:
    """Raises Problem and RuleError for what a person can mend."""
    if question.end <= question.start:
        raise field_problem("to", question.end, "lies before from; exchange them", "早于 from，请对调")
    rows = _rows(request, question)
    active: list[RuleRow] | None = None
    if question.compare_with_active:
        with transaction(request) as connection:
            active = active_rows(connection, [row[0] for row in rows])
    return Order(
        url=services(request).settings.database_url,
        rules=rows,
        active=active,
        from_us=_us(question.start),
        to_us=_us(question.end),
        devices=question.devices,
        marks=None if question.marks is None else [_mark(mark) for mark in question.marks],
        before_us=round(question.before_h * 3_600_000_000),
        late_after_us=round(question.late_after_min * 60_000_000),
        as_observed=question.as_observed,
        listened_always=question.listening == "always",
        tick_s=question.tick_s,
        most_rows=MOST_ROWS,
        most_seconds=MOST_SECONDS,
    )


def _rows(request: Request, question: Question) -> list[RuleRow]:
    given = [name for name in ("rules", "toml", "rule_ids") if getattr(question, name)]
    if len(given) != 1:
        raise field_problem(
            "rules",
            ", ".join(given),
            "give one of rules, toml, rule_ids",
            "请给出 rules、toml、rule_ids 之一",
        )
    if question.rule_ids:
        with transaction(request) as connection:
            return [version_row(connection, named) for named in question.rule_ids]
    if question.toml:
        return [(rule_id, 1, definition) for rule_id, definition in to_rows(question.toml, "toml")]
    rows: list[RuleRow] = []
    for place, definition in enumerate(question.rules or ()):
        rule_id = definition.get("id")
        if not isinstance(rule_id, str) or rule_id in [row[0] for row in rows]:
            raise field_problem(f"rules.{place}.id", rule_id, "write an id of its own", "请填写唯一的 id")
        rest = {key: value for key, value in definition.items() if key != "id"}
        from_row(rule_id, 1, rest)  # raises RuleError naming the key
        rows.append((rule_id, 1, rest))
    return rows


def _mark(mark: Mark) -> MarkedEvent:
    if mark.end < mark.onset:
        raise field_problem(
            "marks.end", mark.end, "lies before its onset; exchange them", "早于 onset，请对调"
        )
    return mark.device, _us(mark.onset), _us(mark.end), mark.label


def _us(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)
