"""What every part of the desk works with: the district, its clock, its file of defaults; and how refusals look."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from city.errors import CityError
from city.flood import Entry as LogEntry
from city.flood import EntryKind, ResponseLevel
from city.observations import Quality
from city.settings import Settings
from city.storage import flood_duty_log, flood_facts
from command_centre.actions import ActionError
from command_centre.flood import defaults, duty_log
from command_centre.flood.cap_check import Fault
from command_centre.flood.defaults import FloodDefaults
from command_centre.workflow import MOST_TEXT, usable_text

Connection = AsyncConnection[Any]
UNBELIEVED = int(Quality.CLOCK_AHEAD | Quality.OUT_OF_RANGE | Quality.SPIKE)


class NotIssuableError(CityError):
    """A warning that must not go out as it is; ``faults`` say why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        super().__init__(f"{first.field} = {first.value!r}: {first.remedy}")
        self.faults = tuple(faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """One district's desk. ``zone`` is the district's own, ``web`` how the public reaches the centre, or empty."""

    code: str
    name: str
    name_en: str
    level: ResponseLevel | None
    zone: ZoneInfo
    web: str
    mail: bool
    defaults: FloodDefaults

    async def log(  # an entry's own parts
        self,
        connection: Connection,
        now: datetime,
        kind: EntryKind,
        text: str,
        text_en: str = "",
        *,
        actor: str = "system",
        about: str = "",
        exercise: bool = False,
        refers_to: int | None = None,
    ) -> int:
        """Append to the duty log, in the caller's transaction; returns the entry's id."""
        entry = LogEntry(
            at=now,
            shift=duty_log.shift_of(now, self.defaults.shifts, self.zone),
            kind=kind,
            text=text,
            text_en=text_en,
            actor=actor,
            object=about,
            exercise=exercise,
            refers_to=refers_to,
        )
        return (await flood_duty_log.append(connection, [entry]))[0]


async def read(connection: Connection, settings: Settings) -> Desk:
    """The desk as the database has it now; before the first import a district without a name."""
    row = await flood_facts.district(connection)
    return Desk(
        code=row["code"] if row else "",
        name=row["name"] if row else "",
        name_en=row["name_en"] if row else "",
        level=row["response_level"] if row else None,
        zone=ZoneInfo(row["timezone"]) if row else settings.zone,
        web=settings.public_url.rstrip("/"),
        mail=bool(settings.smtp_url),
        defaults=known_defaults(settings.config),
    )


@cache
def known_defaults(config: Path | None) -> FloodDefaults:
    """The file, read once in a process."""
    return defaults.load(config)


def said(field: str, text: str) -> str:
    """A text that must be there, without blanks around it; raises ActionError."""
    if not text.strip():
        raise ActionError(
            "invalid", f"{field}：请写明理由", f"{field}: say why; it goes on the record", field
        )
    return sayable(field, text)


def sayable(field: str, text: str) -> str:
    """A text that may be empty, bounded and without control characters; raises ActionError."""
    if not usable_text(text):
        raise ActionError(
            "invalid",
            f"{field}：最多{MOST_TEXT}字，不含控制字符",
            f"{field}: at most {MOST_TEXT} characters, none of control",
            field,
        )
    return text.strip()


def expect(given: int | None, version: int, what: str, what_zh: str) -> None:
    """Raises ActionError when somebody else was faster; ``given`` None asks for nothing."""
    if given is not None and given != version:
        raise ActionError(
            "stale",
            f"{what_zh}已被他人修改（版本{version}），请刷新",
            f"{what} is at version {version}, not {given}: read it again",
        )
