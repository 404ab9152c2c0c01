"""A district's files over HTTP: tried row by row, taken in as shown, and given out again."""

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response
from typing_extensions import TypedDict

from city import district, district_writing, register_sheets
from city.coordinates import Crs
from city.district_fates import RowFate
from city.district_preview import Preview, PreviewError, as_sent, take_in, unpacked
from city.district_source import Fault
from command_centre.api.answers import answer, files, gives
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import transaction
from command_centre.api.session import Known
from command_centre.rule_changes import check_imported
from rules.definitions import to_rows
from rules.writing import to_toml

router = APIRouter(prefix="/api/register", tags=["register"])
_FORMS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "geojson": "application/geo+json",
}

MOST_ROWS = 20_000  # in an answer; the counts are of all
MOST_FILES = 50
Reason = Annotated[str, Query(min_length=1, max_length=2000, pattern=r"\S", description="why; kept for good")]
_FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    }
}


class ImportFault(TypedDict):
    where: str
    column: str
    what: str
    remedy: str


class ImportFieldChange(TypedDict):
    field: str
    before: str
    after: str


class ImportRow(TypedDict):
    """``fate``: new, changed, same, gone or refused. ``row`` is a line or a feature, null for what is left out."""

    file: str
    row: int | None
    key: str
    name: str
    fate: Literal["new", "changed", "same", "gone", "refused"]
    changes: list[ImportFieldChange]
    faults: list[ImportFault]


class ImportPreview(TypedDict):
    """``token`` names exactly this preview; ``rows`` may be cut, ``counts`` by file and fate are of all."""

    taken: bool
    refused: bool
    token: str
    counts: dict[str, dict[str, int]]
    rows: list[ImportRow]
    rows_left_out: int
    warnings: list[str]
    report: dict[str, Any] | None


@router.post(
    "/import",
    summary="Take in a district's files, or see what they would change",
    operation_id="import_register",
    openapi_extra=_FILES,
    responses=gives(ImportPreview),
)
async def import_register(
    request: Request,
    known: Known,
    reason: Reason,
    *,
    dry_run: Annotated[bool, Query(description="say what would become of every row, write nothing")] = False,
    crs: Annotated[
        Crs, Query(description="map of positions that say none themselves; never guessed")
    ] = "wgs84",
    if_match: Annotated[str | None, Header(max_length=64, description="`token` of the preview")] = None,
) -> Response:
    """CSV, XLSX, GeoJSON and TOML files of docs/district-files.md by their names there, or a zip: all rows or none.

    What is not sent stays. With a row refused nothing is written and the answer is 200 with `refused` for a dry run,
    else a problem. With the preview's token in `If-Match` it is done only if it would still do the same.
    """
    uploads = await _uploads(request)
    token = None if if_match in (None, "*") else (if_match or "").strip('"')

    def work() -> Preview:
        with transaction(request) as connection:
            sent = unpacked(uploads)
            done = take_in(
                connection,
                {name: one.content for name, one in sent.items()},
                parse_rules=to_rows,
                write_rules=to_toml,
                check_rules=check_imported,
                by=known.actor,
                reason=reason.strip(),
                dry_run=dry_run,
                expected=token,
                crs=dict.fromkeys(sent, crs),
            )
            done = as_sent(done, sent)
            if done.refused and not dry_run:
                raise _refused(done)
            return done

    try:
        done = await run_in_threadpool(work)
    except PreviewError as error:
        raise Problem(412 if error.stale else 422, str(error), error.zh) from error
    return answer(_shown(done, taken=not dry_run))


@router.get(
    "/export",
    summary="The district as its own files",
    operation_id="export_register",
    response_class=Response,
    responses=files("application/zip"),
)
def export_register(request: Request) -> Response:
    """A zip that `POST /api/register/import` and `city import` read. Edit what you need and send it back."""
    with transaction(request) as connection:
        texts = district.texts(connection, write_rules=to_toml)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    day = datetime.now(UTC).strftime("%Y%m%d")
    headers = {
        "Content-Disposition": f'attachment; filename="district-{day}.zip"',
        "Cache-Control": "no-store",  # units' telephones are in it
    }
    return Response(packed.getvalue(), 200, headers, "application/zip")


@router.get(
    "/export/{file}",
    summary="One list of the register as a file",
    operation_id="export_list",
    response_class=Response,
    responses=files(*_FORMS.values()),
)
def export_list(request: Request, file: Annotated[str, Path(max_length=40)]) -> Response:
    """`devices`, `components` or `buildings`, as `.csv`, `.xlsx` or `.geojson`; the import takes each of them back."""
    stem, _, form = file.rpartition(".")
    columns = register_sheets.LISTS.get(f"{stem}.csv")
    if columns is None or form not in _FORMS:
        raise not_found("list", "清单", file)
    with transaction(request) as connection:
        rows = district_writing.rows_of(connection, f"{stem}.csv")
    content = (
        district_writing.csv_of(columns, rows).encode("utf-8-sig")
        if form == "csv"
        else register_sheets.as_xlsx(columns, rows)
        if form == "xlsx"
        else register_sheets.as_geojson(columns, rows)
    )
    headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "no-store"}
    return Response(content, 200, headers, _FORMS[form])


async def _uploads(request: Request) -> list[tuple[str, bytes]]:
    if "multipart/form-data" not in request.headers.get("content-type", ""):
        raise Problem(415, "send a form with the part files, once for each file", "请以表单 files 发送文件")
    async with request.form(max_files=MOST_FILES, max_fields=10) as form:
        return [
            (part.filename or "", await part.read())
            for part in form.getlist("files")
            if isinstance(part, UploadFile)
        ]


def _refused(done: Preview) -> Problem:
    faults = [fault for row in done.rows for fault in row.faults]
    first = faults[0]
    return Problem(
        422,
        f"{first.where}: {first.what}; {first.remedy} ({len(faults)} faults, nothing was written)",
        f"{first.where}：{first.what}（共 {len(faults)} 处错误，未写入任何内容）",
        errors=[{"field": one.column or one.where, **_fault(one)} for one in faults[:200]],
        counts=done.counts(),
    )


def _shown(done: Preview, *, taken: bool) -> Mapping[str, Any]:
    rows = sorted(done.rows, key=lambda row: _ORDER.get(row.fate, 1))[:MOST_ROWS]
    return {
        "taken": taken,
        "refused": done.refused,
        "token": done.token,
        "counts": done.counts(),
        "rows": [_row(row) for row in rows],
        "rows_left_out": len(done.rows) - len(rows),
        "warnings": done.warnings,
        "report": done.report.as_dict() if done.report else None,
    }


_ORDER = {"refused": 0, "same": 2}


def _row(row: RowFate) -> dict[str, Any]:
    return {
        "file": row.file,
        "row": row.row,
        "key": row.key,
        "name": row.name,
        "fate": row.fate,
        "changes": [{"field": name, "before": was, "after": now} for name, was, now in row.changes],
        "faults": [_fault(one) for one in row.faults],
    }


def _fault(one: Fault) -> dict[str, str]:
    return {"where": one.where, "column": one.column, "what": one.what, "remedy": one.remedy}
