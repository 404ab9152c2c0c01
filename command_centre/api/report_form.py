"""A report as it is sent: JSON, a plain form, or a form with photos. All become one body and its photos."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from city.incidents import Nature
from city.reports import MOST_TEXT, Contact, Language, ToldBy
from command_centre import photos
from command_centre.api import turnstile
from command_centre.api.headers import LARGEST_BODY
from command_centre.api.problem import Problem
from command_centre.kept_files import RoomError, is_full
from command_centre.photos import PhotoError, Taken
from command_centre.report_checks import MOST_PHOTOS

MOST_FIELDS = 40
READ_WITHIN_S = (
    120.0  # a telephone with little signal sends 10 MB in it; a sender who means to hold us up does not
)
AT_ONCE = 32  # forms being read
OF_ONE = 4  # of them from one address
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")

Body = TypeVar("Body", bound=BaseModel)


class ReportContact(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=50)
    phone: str = Field("", max_length=25)
    email: str = Field("", max_length=254)
    told_by: ToldBy | None = Field(
        None, description="how each step is told; left out: by mail when there is one"
    )
    call_back: bool = Field(False, description="somebody telephones when it is done")

    def noun(self, *, mail: bool) -> Contact | None:
        """None when nothing was given; ``mail`` says whether a mail server is there to tell by."""
        if not (self.name or self.phone or self.email):
            return None
        told_by: ToldBy = self.told_by or ("email" if self.email and mail else "none")
        return Contact(
            name=self.name, phone=self.phone, email=self.email, told_by=told_by, call_back=self.call_back
        )


class ReportBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MOST_TEXT, description="what is the matter")
    category: str | None = Field(None, max_length=100, description="a code of the catalogue, if known")
    nature: Nature | None = Field(None, description="left out: as the category says, else a complaint")
    cell: str | None = Field(
        None, max_length=100, description="a code of /api/cells, as a QR code carries it"
    )
    longitude: float | None = Field(None, description="degrees, WGS 84", allow_inf_nan=False)
    latitude: float | None = Field(None, description="degrees, WGS 84", allow_inf_nan=False)
    address: str = Field("", max_length=200)
    component: str = Field("", max_length=64, description="code of the public facility")
    contact: ReportContact = Field(default_factory=ReportContact)
    language: Language = "zh"
    channel: str | None = Field(
        None,
        max_length=32,
        description="web, qr, miniprogram; staff: also hotline, community, patrol, mailbox, …",
    )
    keep_without_photos: bool = Field(
        False, description="take the report even when a photo is refused; the answer says which"
    )
    exercise: bool = Field(False, description="staff only: of a drill")
    found_and_fixed: bool = Field(False, description="staff only: put right on the spot, only counted")
    external_id: str = Field("", max_length=100, description="staff only: the sender's own number")
    photos: list[str] = Field(
        default_factory=list,
        max_length=MOST_PHOTOS,
        description="staff only: digests that /api/photos answered",
    )


class MoreBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=MOST_TEXT)


class Sent(BaseModel):
    """What idempotency compares: the body and the photos' digests."""

    body: dict[str, Any]
    photos: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A file that was no usable photo."""

    name: str
    reason: str
    reason_en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """The fields, the photos written anew, and those that could not be used."""

    fields: Mapping[str, Any]
    taken: tuple[Taken, ...] = ()
    refused: tuple[Refused, ...] = ()

    def as_body(self, model: type[Body]) -> Body:
        """Raises RequestValidationError, which is answered as a problem naming the fields."""
        try:
            return model.model_validate(self.fields)
        except ValidationError as error:
            faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
            raise RequestValidationError(faults) from error

    def sent(self, body: BaseModel) -> Sent:
        """For ``once``."""
        return Sent(
            body=body.model_dump(mode="json"), photos=[one.photo.original.hex() for one in self.taken]
        )

    def without_photos(self, why: RoomError) -> "Read":
        """The same, with each photo among those that could not be kept."""
        lost = [
            Refused(name=f"photo {number}", reason=why.reason_zh, reason_en=str(why))
            for number in range(1, len(self.taken) + 1)
        ]
        return replace(self, taken=(), refused=(*self.refused, *lost))

    def raise_refused(self) -> None:
        """Problem 422 that names each file that is no photo."""
        if not self.refused:
            return
        raise Problem(
            422,
            "; ".join(one.reason_en for one in self.refused),
            "；".join(one.reason for one in self.refused),
            errors=[{"field": "photos", "value": one.name, "remedy": one.reason_en} for one in self.refused],
        )


async def read(request: Request) -> Read:
    """Fields and photos of a request; raises Problem for one that cannot be read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORMS[0] and int(request.headers.get("content-length", "0")) > LARGEST_BODY:
        raise Problem(
            413, f"without photos a body may have {LARGEST_BODY} bytes", "内容过大，照片请用表单上传"
        )
    if kind in FORMS:
        async with _place(request):
            return await _form(request)
    if kind != "application/json":
        listed = ", ".join(("application/json", *FORMS))
        raise Problem(415, f"Content-Type {kind[:60]!r}: use {listed}", f"内容类型不支持，可用：{listed}")
    try:
        fields = await request.json()
    except (ValueError, RecursionError) as error:
        raise Problem(422, "the body is not JSON", "内容不是 JSON") from error
    if not isinstance(fields, dict):
        raise Problem(422, "the body must be a JSON object", "内容应为 JSON 对象")
    return Read(fields=fields)


async def _form(request: Request) -> Read:
    fields: dict[str, Any] = {}
    taken: list[Taken] = []
    refused: list[Refused] = []
    try:
        async with (
            asyncio.timeout(READ_WITHIN_S),
            request.form(max_files=MOST_PHOTOS, max_fields=MOST_FIELDS, max_part_size=64 * 1024) as form,
        ):
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    _into(fields, name, value)
                elif value.filename or value.size:  # a field where no file was chosen has neither
                    try:
                        taken.append(await photos.take(value.filename or name, await value.read()))
                    except PhotoError as error:
                        refused.append(
                            Refused(name=error.name, reason=error.reason, reason_en=error.reason_en)
                        )
    except HTTPException as error:
        raise Problem(
            422,
            f"the form cannot be read: {error.detail}",
            f"表单无法读取；最多{MOST_PHOTOS}张照片、{MOST_FIELDS}个字段",
        ) from error
    except TimeoutError as error:
        raise Problem(408, "the form did not arrive in time; try again", "上传超时，请重试") from error
    except OSError as error:  # a large file waits on the disk for its form to end
        if is_full(error):
            raise RoomError from error
        raise
    for _ in refused:
        await turnstile.count(request, "photo")
    return Read(fields=fields, taken=tuple(taken), refused=tuple(refused))


def _into(fields: dict[str, Any], name: str, value: str) -> None:
    """``contact.phone`` and ``contact_phone`` alike stand in a form where JSON has an object; empty is not given."""
    if value == "":
        return
    group, mark, part = name.replace("contact_", "contact.", 1).partition(".")
    if group == "contact" and mark and isinstance(fields.setdefault("contact", {}), dict):
        fields["contact"][part] = value
    elif name == "photos":
        fields.setdefault("photos", []).append(value)
    else:
        fields[name] = value


_reading: Counter[bytes] = Counter()


@asynccontextmanager
async def _place(request: Request) -> AsyncIterator[None]:
    """Bounds how many forms are held at once, and how many of them are one sender's; raises Problem 503."""
    who = turnstile.sender(request)
    if _reading.total() >= AT_ONCE or _reading[who] >= OF_ONE:
        raise Problem(
            503,
            "too many uploads at this moment; try again in a few seconds",
            "上传人数过多，请稍候重试",
            headers={"Retry-After": "3"},
        )
    _reading[who] += 1
    try:
        yield
    finally:
        _reading[who] -= 1
        if not _reading[who]:
            del _reading[who]
