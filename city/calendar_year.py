"""A year of the working calendar as somebody enters it: what it must say before deadlines may rest on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from city import worktime
from city.errors import CityError

FIRST_YEAR, LAST_YEAR = 2000, 2100
LONGEST_NOTE = 200


class CalendarError(CityError):
    """Days that cannot be taken in; ``field`` names which, ``missing`` the statutory days that were left out."""

    def __init__(
        self, field: str, value: object, remedy: str, remedy_zh: str, missing: Sequence[date] = ()
    ) -> None:
        super().__init__(f"{field} = {value}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy
        self.remedy_zh = remedy_zh
        self.missing = tuple(missing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """A day that somebody decided; ``note`` says what it is."""

    day: date
    working: bool
    note: str = ""


def check(year: int, days: Sequence[Day], *, complete: bool) -> None:
    """Raises CalendarError.

    ``complete`` is a year's whole arrangement: what it does not name is as Monday to Friday, so a statutory day off
    that it leaves out would be worked.
    """
    seen: dict[date, bool] = {}
    for number, one in enumerate(days):
        where = f"days.{number}"
        if one.day.year != year:
            raise CalendarError(
                f"{where}.day", one.day, f"is not in {year}; each year has its own table", f"不属于{year}年"
            )
        if one.day in seen:
            raise CalendarError(f"{where}.day", one.day, "stands here twice; keep one", "重复，请只保留一条")
        if len(one.note) > LONGEST_NOTE or not one.note.isprintable():
            raise CalendarError(
                f"{where}.note",
                one.note[:40],
                f"at most {LONGEST_NOTE} characters, none of control",
                f"最多{LONGEST_NOTE}字，不含控制字符",
            )
        seen[one.day] = one.working
    if complete:
        _check_whole(year, seen)


def _check_whole(year: int, given: dict[date, bool]) -> None:
    statutory = sorted(worktime.statutory_days(year))
    worked = [day for day in statutory if given.get(day)]
    if worked:
        raise CalendarError(
            "days",
            _listed(worked),
            "is a day off by law; a complete arrangement cannot have it worked",
            "是法定节假日，完整的年度安排不能将其列为工作日",
        )
    missing = [day for day in statutory if day not in given and day.weekday() < 5]
    if missing:
        raise CalendarError(
            "days",
            f"{len(given)} days",
            f"the table has a gap: no word on {_listed(missing)}, days off by law; add them, "
            "or leave complete out so that the year stays provisional",
            f"安排有缺漏：缺少法定节假日{_listed(missing)}；请补全，或不设 complete，该年仍按暂定处理",
            missing,
        )


def _listed(days: Sequence[date]) -> str:
    return ", ".join(day.isoformat() for day in days)
