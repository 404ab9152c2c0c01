"""Whether a report can be taken as it is: each fault names its field and what to write instead."""

import re
from collections.abc import Sequence
from typing import get_args

from city.directory import Directory
from city.incidents import AUTOMATION, Nature
from city.reports import CITIZEN, MOST_TEXT, Contact, NewReport
from command_centre.actions import ActionError
from command_centre.workflow import usable_text

MOST_PHOTOS = 5
MACHINES = ("device", "system")  # what machines say of themselves; nobody reports it
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{1,30}")
_PHONE = re.compile(r"\+?[0-9][0-9 ()\-]{3,23}[0-9]")
_EMAIL = re.compile(r"[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]{1,190}\.[^@\s,;<>\".]{2,63}")


def check(report: NewReport, directory: Directory) -> None:
    """Raises ActionError for the first field that cannot be used."""
    if not report.text.strip() or len(report.text) > MOST_TEXT or not usable_text(report.text):
        raise wrong(
            "text",
            f"请用1至{MOST_TEXT}字说明情况，不含控制字符",
            f"say in 1 to {MOST_TEXT} characters what it is, none of control",
        )
    _words("address", report.address, 200)
    _words("component", report.component, 64)
    _words("external_id", report.external_id, 100)
    if not _CHANNEL.fullmatch(report.channel):
        raise wrong(
            "channel", "渠道代码为小写字母、数字和下划线", "lower case letters, digits and underscores"
        )
    if report.nature is not None and report.nature not in get_args(Nature):
        known = ", ".join(get_args(Nature))
        raise wrong("nature", f"可用：{known}", f"use one of {known}")
    category(report.category, directory, citizen=report.actor == CITIZEN)
    _position(report.longitude, report.latitude)
    if len(report.photos) > MOST_PHOTOS:
        raise wrong("photos", f"最多{MOST_PHOTOS}张", f"at most {MOST_PHOTOS} of them")
    if report.contact is not None:
        contact(report.contact)
    if not by_staff(report.actor) and (report.exercise or report.fixed_on_spot):
        field = "exercise" if report.exercise else "found_and_fixed"
        raise wrong(field, "只有工作人员可以填写", "only staff may say so")


def by_staff(actor: str) -> bool:
    """Somebody with a log-in, or an administrator's automation."""
    return actor.startswith(("user:", "token:")) or actor == AUTOMATION


def category(code: str | None, directory: Directory, *, citizen: bool) -> None:
    """Raises ActionError for one that is unknown, retired or not for people to choose."""
    if code is None:
        return
    known = directory.categories.get(code)
    if known is None or (citizen and code.partition(".")[0] in MACHINES):
        raise wrong(
            "category", "不在目录中，可留空", "is not in the catalogue; leave it out when you do not know it"
        )
    if not known.active:
        raise wrong(
            "category", "已停用，请选上级类别或留空", "was retired; use the one above it, or leave it out"
        )


def contact(given: Contact) -> None:
    """Raises ActionError for an address that nothing can be sent to."""
    _words("contact.name", given.name, 50)
    if given.phone and not _PHONE.fullmatch(given.phone):
        raise wrong(
            "contact.phone", "请填写电话号码，只含数字、空格、括号和连字符", "write a telephone number"
        )
    if given.email and not _EMAIL.fullmatch(given.email):
        raise wrong("contact.email", "请填写邮箱地址", "write a mail address such as name@example.com")
    needed: Sequence[tuple[bool, str]] = (
        ((given.told_by == "sms" or given.call_back) and not given.phone, "contact.phone"),
        (given.told_by == "email" and not given.email, "contact.email"),
    )
    for missing, field in needed:
        if missing:
            raise wrong(field, "要按此方式通知您，请填写", "is needed to tell you that way")


def _position(longitude: float | None, latitude: float | None) -> None:
    if (longitude is None) != (latitude is None):
        missing = "longitude" if longitude is None else "latitude"
        raise wrong(missing, "经度和纬度须同时给出", "give longitude and latitude together")
    if longitude is None or latitude is None:
        return
    if not -180 <= longitude <= 180:
        raise wrong("longitude", "应在-180至180度之间（WGS 84）", "degrees from -180 to 180, WGS 84")
    if not -90 <= latitude <= 90:
        raise wrong("latitude", "应在-90至90度之间（WGS 84）", "degrees from -90 to 90, WGS 84")


def _words(field: str, text: str, most: int) -> None:
    if len(text) > most or not text.isprintable():
        raise wrong(field, f"最多{most}字，一行", f"at most {most} characters in one line")


def wrong(field: str, remedy: str, remedy_en: str) -> ActionError:
    """422 naming the field; the value is not repeated: it may be somebody's telephone number."""
    return ActionError("invalid", f"{field}：{remedy}", f"{field}: {remedy_en}", field)
