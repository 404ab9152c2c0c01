"""Readings of one device as a file, streamed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime
from starlette.responses import StreamingResponse

from city.storage.exports import Reading, Series, block
from command_centre import exports
from command_centre.api.answers import files
from command_centre.api.problem import Problem, not_found
from command_centre.api.services import transaction

router = APIRouter(prefix="/api/devices", tags=["devices"])


@router.get(
    "/{code}/export",
    summary="What a device has read, as CSV or Parquet",
    operation_id="export_readings",
    response_class=StreamingResponse,
    responses=files(*exports.MEDIA_TYPES.values()),
)
def export(  # each is one parameter of the query
    request: Request,
    code: str,
    start: Annotated[
        AwareDatetime | None, Query(alias="from", description="with offset, included; a day before `to`")
    ] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="with offset, excluded; now")] = None,
    form: Annotated[exports.Format, Query(alias="format")] = "csv",
    metrics: Annotated[str, Query(max_length=500, description="codes with commas; all")] = "",
) -> StreamingResponse:
    """Every reading as it was stored, odd ones too with what is known against them; UTC and the district's time.

    Refused with 422 beyond 400 days or 5,000,000 readings. A file that breaks off ends without its last chunk.
    """
    until = end or datetime.now(UTC)
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    zone = request.app.state.services.settings.zone
    with transaction(request) as connection:
        try:
            wanted = exports.plan(
                connection,
                code,
                start=start or until - timedelta(days=1),
                end=until,
                metrics=names,
                zone=zone,
            )
        except exports.NoDeviceError as error:
            raise not_found("device", "设备", code) from error
        except exports.ExportError as error:
            fault = {"field": error.field, "value": error.value, "remedy": error.remedy}
            zh = f"{error.field} = {error.value}：{error.remedy_zh}"
            raise Problem(422, str(error), zh, errors=[fault]) from error

    def following(series: Series, after: datetime | None) -> Sequence[Reading]:
        with transaction(request) as reading:
            return block(reading, series, wanted.start, wanted.end, after)

    name = f"{wanted.name}.{form}"
    return StreamingResponse(
        exports.write(wanted, form, following),
        media_type=exports.MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(name)}",
            "Cache-Control": "no-store",
            "Content-Encoding": "identity",  # packing it would cost the centre more than making it
        },
    )
