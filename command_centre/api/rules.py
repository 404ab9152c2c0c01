"""Rules: listed, read with their versions, drafted, checked, put in force, rolled back, and as one TOML file."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from city.storage import rules, users
from city.storage.rules import RuleVersion
from command_centre import rule_changes
from command_centre.api import paging
from command_centre.api.answers import answer, files
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known
from command_centre.rule_changes import Changed, RuleChangeError
from rules import problems as checked
from rules.writing import to_toml

router = APIRouter(prefix="/api", tags=["rules"])

TOML = "application/toml"
_STATUS: Mapping[rule_changes.Code, int] = {
    "not_found": 404,
    "conflict": 409,
    "stale": 412,
    "invalid": 422,
    "problems": 422,
    "precondition": 428,
}
IfMatch = Annotated[str | None, Header(max_length=64, description="ETag of GET /api/rules/{rule_id}")]
Reason = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Draft(Strict):
    definition: dict[str, Any] = Field(description="the keys of docs/rules.md, without the id")
    reason: Reason


class Candidate(Strict):
    definition: dict[str, Any] | None = Field(None, description="left out = a stored version")
    toml: str | None = Field(None, max_length=100_000, description="or the rule as a rule file")
    version: Version | None = Field(None, description="left out = the newest")


class Activation(Strict):
    version: Version
    reason: Reason
    accept_warnings: bool = False


class Retirement(Strict):
    reason: Reason


class Listed(BaseModel):
    id: str = Field(max_length=200)
    definition: dict[str, Any]


class TakingIn(Strict):
    reason: Reason
    activate: bool = Field(False, description="put it in force; else drafts")
    replace: bool = Field(False, description="with activate: retire the rules it does not name")
    accept_warnings: bool = False


class RuleSet(TakingIn):
    items: list[Listed] = Field(
        max_length=5000, description="as listed; what is not id or definition is passed over"
    )


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────


@router.get("/rules", summary="Rules", operation_id="list_rules")
def list_rules(
    request: Request,
    state: Literal["active", "draft", "retired", "all"] = "active",
    limit: paging.Limit = 1000,
    cursor: paging.Cursor = None,
) -> Response:
    """By id: the version in force, else the newest one, with open alarms and who moved it last.

    `state=draft` lists the newest draft of each rule that has one waiting, `drafts` says how many wait.
    """
    after = paging.read(cursor, tuple[str])
    with transaction(request) as connection:
        rows = rules.listed(
            connection,
            state=None if state == "all" else state,
            after=after[0] if after else None,
            limit=limit + 1,
        )
    return answer(paging.page([_listed(row) for row in rows], limit, lambda row: [row["id"]]))


@router.get(
    "/rules.toml",
    summary="The rules in force as one rule file",
    operation_id="export_rules",
    response_class=Response,
    responses={**files(TOML), 304: {"description": "the caller has it"}},
)
def export_rules(request: Request) -> Response:
    """The same rules give the same bytes; `PUT /api/rules.toml` and `city rules import` take it back."""
    with transaction(request) as connection:
        body = rule_changes.export_set(connection).encode()
    tag = _tag_of_set(body)
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": tag})
    headers = {
        "ETag": tag,
        "Cache-Control": "no-cache",
        "Content-Disposition": 'inline; filename="rules.toml"',
    }
    return Response(body, 200, headers, f"{TOML}; charset=utf-8")


@router.get("/rules/{rule_id}", summary="One rule", operation_id="get_rule")
def get_rule(request: Request, rule_id: str) -> Response:
    """The version in force, else the newest; its ETag is what `PUT` wants in `If-Match`."""
    with transaction(request) as connection:
        current = _current(connection, rule_id)
        names = users.by_actor(connection)
        moves = rules.history(connection, rule_id)
        shown = _shown(current) | {
            "open_alarms": rules.open_alarms(connection, rule_id),
            "history": [{**move, "by": names.get(move["actor"], move["actor"])} for move in moves],
        }
    return answer(shown, headers={"ETag": _tag(current)})


@router.get("/rules/{rule_id}/versions", summary="Versions of a rule", operation_id="rule_versions")
def rule_versions(request: Request, rule_id: str) -> Response:
    """Newest first, each with author, reason and what it was edited from."""
    with transaction(request) as connection:
        found = rules.versions(connection, rule_id)
        names = users.by_actor(connection)
    if not found:
        raise not_found("rule", "规则", rule_id)
    items = [{**_shown(version), "by": names.get(version.author, version.author)} for version in found]
    return answer({"items": items, "next": None})


@router.get("/rules/{rule_id}/diff", summary="What differs between two versions", operation_id="diff_rule")
def diff_rule(
    request: Request,
    rule_id: str,
    before: Annotated[int | None, Query(alias="from", ge=1, le=2**31 - 1, description="in force")] = None,
    after: Annotated[int | None, Query(alias="to", ge=1, le=2**31 - 1, description="newest")] = None,
) -> Response:
    """Key by key, and as a unified diff of the rule file."""
    with transaction(request) as connection:
        one = _chosen(connection, rule_id, before, rules.current)
        other = _chosen(connection, rule_id, after, _newest)
    keys = rule_changes.differences(one.definition, other.definition)
    return answer(
        {
            "id": rule_id,
            "from": one.version,
            "to": other.version,
            "keys": [asdict(key) for key in keys],
            "toml": rule_changes.unified(one, other),
        }
    )


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────


@router.put("/rules/{rule_id}", summary="Write a new version of a rule", operation_id="put_rule")
def put_rule(request: Request, rule_id: str, body: Draft, known: Known, if_match: IfMatch = None) -> Response:
    """A draft: nothing changes in force. 201 for a rule that is new. `problems` would stand against activation."""
    with transaction(request) as connection, _Refusals():
        done = rule_changes.draft(
            connection,
            rule_id,
            body.definition,
            actor=known.actor,
            reason=body.reason.strip(),
            expected=_expected(connection, rule_id, if_match),
            now=datetime.now(UTC),
        )
        current = _current(connection, rule_id)
    headers = {"ETag": _tag(current), "Location": f"/api/rules/{rule_id}"}
    return answer(_changed(done), 201 if done.change == "new" else 200, headers)


@router.post("/rules/{rule_id}/validate", summary="Check a rule", operation_id="validate_rule")
def validate_rule(request: Request, rule_id: str, body: Candidate | None = None) -> Response:
    """What would be said if it came into force now, the rule both as keys and as a rule file, and how many devices it
    is for. Nothing is written. How often it would have alarmed is another question: `POST /api/rules/backtest`."""
    given = body or Candidate()
    with transaction(request) as connection, _Refusals():
        if given.toml is not None:
            definition: Mapping[str, object] = rule_changes.read_file(rule_id, given.toml)
        elif given.definition is not None:
            definition = given.definition
        else:
            definition = _chosen(connection, rule_id, given.version, _newest).definition
        tried = rule_changes.trial(connection, rule_id, definition, now=datetime.now(UTC))
    return answer(
        {
            "id": rule_id,
            "ok": not _faults(tried.problems),
            "problems": _problems(tried.problems),
            "definition": tried.definition,
            "toml": tried.toml,
            "devices": tried.devices,
        }
    )


@router.post("/rules/{rule_id}/activate", summary="Put a version in force", operation_id="activate_rule")
def activate_rule(
    request: Request, rule_id: str, body: Activation, known: Known, if_match: IfMatch = None
) -> Response:
    """Checked again first. Ingest takes it up within a second or two and keeps what it knows of every device."""
    return _move(request, rule_id, "activate", body, known.actor, if_match)


@router.post(
    "/rules/{rule_id}/rollback", summary="Go back to an earlier version", operation_id="rollback_rule"
)
def rollback_rule(
    request: Request, rule_id: str, body: Activation, known: Known, if_match: IfMatch = None
) -> Response:
    """To a version that was in force before; the district may have changed since, so it is checked again."""
    return _move(request, rule_id, "rollback", body, known.actor, if_match)


@router.post("/rules/{rule_id}/retire", summary="Put a rule out of force", operation_id="retire_rule")
def retire_rule(
    request: Request, rule_id: str, body: Retirement, known: Known, if_match: IfMatch = None
) -> Response:
    """Its open alarms clear within a second or two and say that the rule is gone."""
    with transaction(request) as connection, _Refusals():
        rule_changes.check_expected(connection, rule_id, _expected(connection, rule_id, if_match))
        done = rule_changes.retire(connection, rule_id, actor=known.actor, reason=body.reason.strip())
    return answer(_changed(done))


@router.put("/rules", summary="Take in a set of rules", operation_id="put_rules")
def put_rules(request: Request, body: RuleSet, known: Known) -> Response:
    """What `GET /api/rules` answers, changed and sent back; the same as `PUT /api/rules.toml`."""
    try:
        text = to_toml((item.id, item.definition) for item in body.items)
    except TypeError as error:
        raise field_problem(
            "items", error, "TOML cannot hold it; leave it out", "TOML 无法表示该值，请去掉"
        ) from error
    return _take_in(request, text, "items", known.actor, body)


@router.put(
    "/rules.toml",
    summary="Take in a rule file",
    operation_id="import_rules",
    openapi_extra={"requestBody": {"required": True, "content": {TOML: {"schema": {"type": "string"}}}}},
)
async def import_rules(  # each is one parameter of the query
    request: Request,
    known: Known,
    reason: Annotated[str, Query(min_length=1, max_length=2000, pattern=r"\S")],
    activate: Annotated[bool, Query(description="put it in force; else drafts")] = False,
    replace: Annotated[bool, Query(description="with activate: retire the rules it does not name")] = False,
    accept_warnings: bool = False,
    if_match: Annotated[str | None, Header(max_length=64, description="ETag of GET /api/rules.toml")] = None,
) -> Response:
    """All of it or nothing. Rules that the file leaves as they are get no new version.

    With `If-Match` only while the rules in force are those that the tag was given for.
    """
    body = await request.body()
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise field_problem(
            "body",
            f"byte {error.start}",
            "is not UTF-8; save the file as UTF-8",
            "不是 UTF-8 编码，请以 UTF-8 保存",
        ) from error
    how = TakingIn(reason=reason, activate=activate, replace=replace, accept_warnings=accept_warnings)
    return await run_in_threadpool(_take_in, request, text, "rules.toml", known.actor, how, if_match)


def _take_in(
    request: Request, text: str, source: str, actor: str, how: TakingIn, if_match: str | None = None
) -> Response:
    with transaction(request) as connection, _Refusals():
        rules.lock(connection)
        if if_match not in (None, "*", _tag_of_set(rule_changes.export_set(connection).encode())):
            raise Problem(
                412,
                "the rules in force are others by now; export them again",
                "启用的规则已有变化，请重新导出",
            )
        done, found = rule_changes.import_set(
            connection,
            text,
            source,
            actor=actor,
            reason=how.reason.strip(),
            activate=how.activate,
            replace_all=how.replace,
            accept_warnings=how.accept_warnings,
            now=datetime.now(UTC),
        )
    return answer({"items": [_changed(one) for one in done], "next": None, "problems": _problems(found)})


def _move(
    request: Request,
    rule_id: str,
    action: Literal["activate", "rollback"],
    body: Activation,
    actor: str,
    if_match: str | None,
) -> Response:
    with transaction(request) as connection, _Refusals():
        rule_changes.check_expected(connection, rule_id, _expected(connection, rule_id, if_match))
        done = rule_changes.put_in_force(
            connection,
            rule_id,
            body.version,
            action=action,
            actor=actor,
            reason=body.reason.strip(),
            accept_warnings=body.accept_warnings,
            now=datetime.now(UTC),
        )
        current = _current(connection, rule_id)
    return answer(_changed(done), headers={"ETag": _tag(current)})


class _Refusals:
    """Refusals as problems, raised inside the transaction so that nothing of the change stays."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RuleChangeError):
            found = _problems(error.problems)
            raise Problem(_STATUS[error.code], error.reason, error.reason_zh, problems=found) from error


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────


def _current(connection: Connection[Any], rule_id: str) -> RuleVersion:
    found = rules.current(connection, rule_id)
    if found is None:
        raise not_found("rule", "规则", rule_id)
    return found


def _newest(connection: Connection[Any], rule_id: str) -> RuleVersion | None:
    found = rules.versions(connection, rule_id)
    return found[0] if found else None


def _chosen(
    connection: Connection[Any],
    rule_id: str,
    number: int | None,
    otherwise: Callable[[Connection[Any], str], RuleVersion | None],
) -> RuleVersion:
    _current(connection, rule_id)
    found = otherwise(connection, rule_id) if number is None else rules.version(connection, rule_id, number)
    if found is None:
        raise not_found(f"version of {rule_id}", f"规则 {rule_id} 的版本", str(number))
    return found


def _tag(version: RuleVersion) -> str:
    return f'"{version.version}"'


def _tag_of_set(exported: bytes) -> str:
    return f'"{hashlib.sha256(exported).hexdigest()[:24]}"'


def _expected(connection: Connection[Any], rule_id: str, if_match: str | None) -> int | None:
    """The version the caller looked at; `*` is whatever is there."""
    if if_match is None:
        return None
    if if_match.strip() == "*":
        rules.lock(connection)  # whatever is there now is still there when it is changed
        found = rules.current(connection, rule_id)
        return found.version if found else None
    bare = if_match.strip().removeprefix("W/").strip('"')
    if not (bare.isdecimal() and len(bare) < 10):
        raise field_problem("If-Match", if_match, "use the ETag of the rule", "请使用规则的 ETag")
    return int(bare)


def _shown(version: RuleVersion) -> dict[str, Any]:
    values = asdict(version)
    return {"id": values.pop("rule_id"), **_words(version.definition), **values}


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **_words(row["definition"])}


def _words(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a list shows of a definition; the definition itself stands beside it."""
    kinds = [definition["kind"]] if "kind" in definition else definition.get("kinds", [])
    return {
        "type": definition.get("type"),
        "name": definition.get("name"),
        "name_en": definition.get("name_en"),
        "kinds": kinds,
        "scope": definition.get("scope", {}),
        "category": definition.get("category"),
        "class": definition.get("class"),
        "level": definition.get("level"),
    }


def _changed(done: Changed) -> dict[str, Any]:
    values = asdict(done)
    return {"id": values.pop("rule_id"), **values, "problems": _problems(done.problems)}


def _problems(found: Sequence[checked.Problem]) -> list[dict[str, Any]]:
    return [{"rule": values.pop("rule_id"), **values} for values in map(asdict, found)]


def _faults(found: Sequence[checked.Problem]) -> list[checked.Problem]:
    return [problem for problem in found if problem.severity == "error"]
