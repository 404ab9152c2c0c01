"""The reason of a decision in both languages: the entry that decided, who stands in and why, and every doubt."""

from collections.abc import Sequence

from city.clocks import Limit
from city.directory import Directory, Place
from city.units import Responsibility, Unit
from command_centre.choosing import Choice
from command_centre.limits import said
from command_centre.matters import Matter, Words, one_line


def reason(
    matter: Matter, places: Sequence[Place], directory: Directory, choice: Choice, limit: Limit
) -> Words:
    """What the timeline, the order and the screen say of it."""
    if choice.entry is not None:
        first = _decided(choice.entry, places, directory, limit)
    elif choice.unit is not None:
        first = _maintains(choice.unit, limit)
    elif choice.alternatives and any(other.unit.id in directory.active for other in choice.alternatives):
        first = _nobody_can(matter, places, directory)
    else:
        first = _nobody_named(matter, places, directory)
    return one_line([first, *choice.notes, *_doubts(matter, places, directory)])


def not_by_itself(matter: Matter, directory: Directory, suggestion: Unit | None, why: Words) -> Words:
    """The lane's reason for a matter that a person must send, with who the list suggests."""
    name, name_en = category_names(matter.category, directory)
    first = (f"{name}不自动派遣，请人工确认", f"{name_en} is not dispatched by itself: a person decides")
    if suggestion is None:
        return one_line([first, why])
    proposed = (f"建议{suggestion.name}", f"suggested: {suggestion.name_en or suggestion.name}")
    return one_line([first, proposed, why])


def category_names(code: str, directory: Directory) -> Words:
    """The catalogue's names, the code itself for an unknown one."""
    known = directory.category(code)
    return (known.name, known.name_en or known.name) if known else (code, code)


def _decided(entry: Responsibility, places: Sequence[Place], directory: Directory, limit: Limit) -> Words:
    unit = directory.units[entry.unit_id]
    area, area_en = _area_names(entry, places)
    within, within_en = said(limit)
    return (
        f"职责清单：{entry.category} × {area} → {unit.name}，时限{within}",
        f"responsibility list: {entry.category} x {area_en} -> {unit.name_en or unit.name}, {within_en}",
    )


def _maintains(unit: Unit, limit: Limit) -> Words:
    within, within_en = said(limit)
    return (
        f"设备登记的养护单位 → {unit.name}，时限{within}",
        f"maintainer in the device register -> {unit.name_en or unit.name}, {within_en}",
    )


def _nobody_named(matter: Matter, places: Sequence[Place], directory: Directory) -> Words:
    where, where_en = _where(matter, places)
    name, name_en = category_names(matter.category, directory)
    return (
        f"{where}没有单位负责{name}（{matter.category}），请人工派遣并补充职责清单",
        f"no unit is responsible for {name_en} ({matter.category}) {where_en}; "
        "dispatch by hand and complete the responsibility list",
    )


def _nobody_can(matter: Matter, places: Sequence[Place], directory: Directory) -> Words:
    where, where_en = _where(matter, places)
    name, name_en = category_names(matter.category, directory)
    return (
        f"{where}负责{name}（{matter.category}）的单位及其替补目前都不能接单，请人工派遣",
        f"no unit responsible for {name_en} ({matter.category}) {where_en} can take it now, "
        "nor anybody who stands in; dispatch by hand",
    )


def _doubts(matter: Matter, places: Sequence[Place], directory: Directory) -> list[Words]:
    doubts = []
    if matter.unclaimed_device:
        doubts.append(
            (f"设备{matter.unclaimed_device}未认领", f"device {matter.unclaimed_device} is unclaimed")
        )
    if matter.cell_id is not None and len(places) <= 1:
        doubts.append(
            ("网格不在区划内，位置未核实", "the cell is not on the district's map: place unverified")
        )
    if directory.category(matter.category) is None:
        doubts.append(
            (f"类别{matter.category}不在目录中", f"category {matter.category} is not in the catalogue")
        )
    if matter.late:
        doubts.append(("报警数据迟到", "rests on late data"))
    return doubts


def _where(matter: Matter, places: Sequence[Place]) -> Words:
    """The street when there is one (there an entry is usually missing), else the nearest place."""
    if not places:
        if matter.cell_id is None:
            return "位置未知，", "anywhere: the place is unknown"
        return "网格未知，", "there: the cell is unknown"
    place = next((one for one in places if one.layer == "street"), places[0])
    return place.name, f"in {place.name_en or place.name}"


def _area_names(entry: Responsibility, places: Sequence[Place]) -> Words:
    for place in places:
        if place.area_id == entry.area_id:
            return place.name, place.name_en or place.name
    return "全区", "the whole district"
