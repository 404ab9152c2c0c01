"""The catalogue of categories: looked up, taken in from a sheet, retired."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from city import catalogue
from city.catalogue_columns import written
from city.catalogue_plan import Plan, RowFate, Usage
from city.catalogue_sheet import LARGEST_FILE, SheetError
from city.clocks import write_limits
from city.storage import categories
from city.units import Category
from command_centre import catalogue as changes
from command_centre.api.answers import answer, files, tagged
from command_centre.api.problem import Problem, field_problem, not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known

router = APIRouter(prefix="/api", tags=["catalogue"])

MOST_FAULTS = 200  # in a problem; a dry run shows every row
Reason = Annotated[str, Query(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
_STATUS: Mapping[str, int] = {"not_found": 404, "in_use": 409, "stale": 412}
_TYPES = ("text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in _TYPES},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


@router.get("/categories", summary="The category catalogue", operation_id="list_categories")
def list_categories(
    request: Request,
    *,
    active: Annotated[
        bool | None, Query(description="only those that can be chosen, or only retired ones")
    ] = None,
    below: Annotated[
        str | None, Query(max_length=200, description="this code and what lies below it")
    ] = None,
) -> Response:
    """The whole tree, by code, `parent` and `children` tell its shape.

    `limit` is the time to handle in force for the category's own class; `limits` are those of every stage.
    """
    with transaction(request) as connection:
        known = categories.load_categories(connection)
        origins = categories.origins(connection)
    counts = catalogue.children(known)
    items = [
        _shown(category, counts.get(code, 0), origins[code])
        for code, category in known.items()
        if (active is None or category.active == active)
        and (below is None or f"{code}.".startswith(f"{below}."))
    ]
    return tagged(request, {"items": items, "next": None})


@router.get(
    "/categories.csv",
    summary="The catalogue as a sheet",
    operation_id="export_categories",
    response_class=Response,
    responses=files("text/csv"),
)
def export_categories(
    request: Request, lang: Annotated[str, Query(pattern="^(zh|en)$", description="of the headings")] = "zh"
) -> Response:
    """CSV in UTF-8 with a byte order mark, as spreadsheets want it; edit it and send it back.

    Its `ETag` goes into `If-Match` of the import, so that nobody's change in between is lost.
    """
    with transaction(request) as connection:
        known = categories.load_categories(connection)
    text = written(known.values(), chinese=lang == "zh")
    headers = {
        "ETag": f'"{changes.tag(known)}"',
        "Content-Disposition": 'attachment; filename="categories.csv"',
        "Cache-Control": "no-cache",
    }
    return Response(text.encode("utf-8-sig"), 200, headers, "text/csv; charset=utf-8")


@router.post(
    "/categories/import",
    summary="Take in a catalogue from CSV or XLSX",
    operation_id="import_categories",
    openapi_extra=_FILE,
)
async def import_categories(
    request: Request,
    known: Known,
    reason: Reason,
    *,
    dry_run: Annotated[bool, Query(description="say what would become of every row, write nothing")] = False,
    whole: Annotated[bool, Query(description="retire what the sheet leaves out")] = False,
    if_match: Annotated[
        str | None, Header(max_length=64, description="ETag of GET /api/categories.csv")
    ] = None,
) -> Response:
    """All rows or none. Every row is answered with its fate: new, changed, same, retired or refused with its cells.

    The file is the body itself or the part `file` of a form, at most 5 MB. Sent again, it changes nothing.
    """
    content, name = await _file(request)
    return await run_in_threadpool(
        _import, request, content, name, known.actor, reason, dry_run, whole, _bare(if_match)
    )


def _import(
    request: Request,
    content: bytes,
    name: str,
    actor: str,
    reason: str,
    dry_run: bool,
    whole: bool,
    expected: str | None,
) -> Response:
    try:
        with transaction(request) as connection:
            done = changes.take_in(
                connection,
                content,
                name,
                actor=actor,
                reason=reason.strip(),
                dry_run=dry_run,
                whole=whole,
                expected=expected,
            )
    except SheetError as error:
        raise Problem(
            422, str(error), error.reason_zh, errors=[{"field": "file", "remedy": str(error)}]
        ) from error
    except changes.CatalogueError as error:
        raise _problem(error) from error
    if done.plan.refused and not dry_run:
        raise _refused(done.plan)
    plan = done.plan
    body = {
        "dry_run": dry_run,
        "refused": plan.refused,
        "written": done.written,
        "counts": plan.counts(),
        "header": [asdict(fault) for fault in plan.header_faults],
        "rows": [_fate(row) for row in plan.rows],
    }
    return answer(body, 200, {"ETag": f'"{done.tag}"'})


@router.get("/categories/{code}", summary="One category", operation_id="get_category")
def get_category(request: Request, code: str) -> Response:
    """With what names it: open incidents, standing alarms, rules, responsibilities, components."""
    with transaction(request) as connection:
        known = categories.load_categories(connection)
        if code not in known:
            raise not_found("category", "类别", code)
        origin = categories.origins(connection)[code]
        used = categories.usage(connection, [code])[code]
    counts = catalogue.children(known)
    path = [*sorted(catalogue.ways_up([code])), code]
    body = _shown(known[code], counts.get(code, 0), origin) | {
        "path": [
            {"code": one, "name": known[one].name, "name_en": known[one].name_en}
            for one in path
            if one in known
        ],
        "used": _used(used),
        "family": catalogue.family(code),
    }
    return tagged(request, body)


@router.post(
    "/categories/{code}/retire", summary="Take a category out of use", operation_id="retire_category"
)
def retire_category(request: Request, code: str, reason: Reason, known: Known) -> Response:
    """It stays for incidents that have it and cannot be chosen for new ones. An import with `active` 1 brings it back.

    409 while a rule in force raises for it, or categories below it are active.
    """
    try:
        with transaction(request) as connection:
            used = changes.retire(connection, code, actor=known.actor, reason=reason.strip())
    except changes.CatalogueError as error:
        raise _problem(error) from error
    return answer({"code": code, "active": False, "used": _used(used)})


@router.delete("/categories/{code}", summary="Remove a category nobody used", operation_id="delete_category")
def delete_category(request: Request, code: str, reason: Reason, known: Known) -> Response:
    """409 with the counts once anything names it; one that came with the product is retired instead."""
    try:
        with transaction(request) as connection:
            became = changes.remove(connection, code, actor=known.actor, reason=reason.strip())
    except changes.CatalogueError as error:
        raise _problem(error) from error
    return answer({"code": code, "became": became})


# ── reading and showing ──────────────────────────────────────────────────────────────────────────────


async def _file(request: Request) -> tuple[bytes, str]:
    """The sheet's bytes and its name for people."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=5) as form:
            sent = form.get("file")
            if not isinstance(sent, UploadFile):
                raise field_problem(
                    "file", "(none)", "send the sheet as the part `file`", "请以 file 字段上传文件"
                )
            content, name = await sent.read(LARGEST_FILE + 1), (sent.filename or "sheet")[:100]
    else:
        content, name = await request.body(), "sheet"
    if not content:
        raise field_problem("file", "(empty)", "send a CSV or XLSX file", "请上传 CSV 或 XLSX 文件")
    return content, name


def _bare(if_match: str | None) -> str | None:
    if if_match is None or if_match.strip() == "*":
        return None
    return if_match.strip().removeprefix("W/").strip('"')


def _shown(category: Category, children: int, origin: str) -> dict[str, Any]:
    limit = catalogue.handling_limit_of(category)
    return {
        "code": category.code,
        "parent": category.parent,
        "level": catalogue.level_of(category.code),
        "children": children,
        "name": category.name,
        "name_en": category.name_en,
        "class": category.incident_class,
        "nature": category.nature,
        "importance": category.importance,
        "urgency": category.urgency,
        "event_level": category.event_level,
        "limit": str(limit),
        "limit_minutes": category.limit_minutes,
        "clock": category.clock,
        "limits": _parts(write_limits(category.limits)),
        "class_limits": category.class_limits,
        "plan": category.plan,
        "automatic": category.automatic,
        "active": category.active,
        "origin": origin,
    }


def _parts(limits: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in limits.split(";") if part)


def _used(used: Usage) -> dict[str, int]:
    counted = asdict(used)
    del counted["incidents"], counted["alarms"]  # counted only where something is to be removed
    return counted


def _fate(row: RowFate) -> dict[str, Any]:
    return {
        "row": row.row,
        "code": row.code,
        "fate": row.fate,
        "changes": {column: {"from": was, "to": becomes} for column, (was, becomes) in row.changes.items()},
        "faults": [asdict(fault) for fault in row.faults],
        "note": row.note,
        "note_en": row.note_en,
    }


def _refused(plan: Plan) -> Problem:
    faults = [*plan.header_faults, *(fault for row in plan.rows for fault in row.faults)]
    first = faults[0]
    what = "" if first.value is None else f" = {first.value!r}"
    rows = sum(row.fate == "refused" for row in plan.rows)
    return Problem(
        422,
        f"row {first.row}, {first.column}{what}: {first.remedy} ({rows} rows refused, nothing was written)",
        f"第{first.row}行“{first.column}”{what}：{first.remedy_zh}（共{rows}行被拒绝，未写入任何内容）",
        errors=[
            {
                "field": fault.column,
                "row": fault.row,
                "value": fault.value,
                "remedy": fault.remedy,
                "remedy_zh": fault.remedy_zh,
            }
            for fault in faults[:MOST_FAULTS]
        ],
        counts=plan.counts(),
    )


def _problem(error: changes.CatalogueError) -> Problem:
    more = {"used": asdict(error.usage)} if error.usage is not None else {}
    return Problem(_STATUS[error.code], str(error), error.reason_zh, **more)
