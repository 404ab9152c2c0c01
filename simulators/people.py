"""The forty units of the demonstration district and who answers for what where (职责清单).

Street names go in; rows of ``units.csv``, ``shifts.csv``, ``roster.csv`` and ``responsibilities.csv`` come out.
Numbers cannot be dialled and addresses cannot be delivered to (RFC 2606's ``.invalid``).
"""

from collections.abc import Sequence
from typing import TypeAlias

from simulators import names

Row: TypeAlias = dict[str, str]

# code, name, English name, kind
_DISTRICT_UNITS = (
    ("U-CENTRE", "区城市运行指挥中心", "District Operations Centre", "district_centre"),
    ("U-FIRE", "区消防救援大队", "District Fire Brigade", "fire_brigade"),
    ("U-POLICE", "区公安分局", "District Police Bureau", "police"),
    ("U-FLOOD", "区三防办", "District Flood Office", "flood_office"),
    ("U-DRAIN", "区排水管理中心", "Drainage Management Centre", "municipal"),
    ("U-RESERVOIR", "水库管理所", "Reservoir Office", "flood_office"),
    ("U-MUNICIPAL", "区市政设施管理处", "Municipal Facilities Office", "municipal"),
    ("U-URBAN", "区城管执法局", "Urban Management Bureau", "urban_management"),
    ("U-ENV", "区生态环境局", "Environment Bureau", "environment"),
    ("U-CLEAN", "区环卫所", "Sanitation Office", "environment"),
    ("U-GREEN", "区园林所", "Parks and Greening Office", "environment"),
    ("U-GAS", "区燃气公司", "Gas Company", "utility"),
    ("U-POWER", "区供电所", "Power Supply Office", "utility"),
    ("U-WATER", "区供水公司", "Water Supply Company", "utility"),
    ("U-IT", "平台运维组", "Platform Operations", "operations"),
    ("U-MAINT", "物联设备维护公司", "Device Maintenance Company", "maintenance"),
)
# code prefix, name suffix, English suffix, kind, parent; one in each street
_STREET_UNITS = (
    ("U-ST", "街道分拨中心", "Street Centre", "street_centre", "U-CENTRE"),
    ("U-FS", "消防站", "Fire Station", "fire_brigade", "U-FIRE"),
    ("U-PS", "派出所", "Police Station", "police", "U-POLICE"),
    ("U-PM", "物业联合管理处", "Joint Property Management", "property", "U-ST"),
)

# category prefix: unit for the whole district, then the street unit that comes before it
_DUTIES = (
    ("fire", "U-FIRE", "U-FS"),
    ("flood", "U-FLOOD", None),
    ("flood.evacuation", "U-FLOOD", "U-ST"),
    ("flood.inspection", "U-FLOOD", "U-ST"),
    ("flood.reservoir", "U-RESERVOIR", None),
    ("flood.waterlogging", "U-DRAIN", None),
    ("facility", "U-MUNICIPAL", None),
    ("facility.gas", "U-GAS", None),
    ("facility.power", "U-POWER", None),
    ("facility.water_supply", "U-WATER", None),
    ("facility.drain", "U-DRAIN", None),
    ("building", "U-URBAN", "U-PM"),
    ("environment", "U-ENV", None),
    ("environment.garbage", "U-CLEAN", None),
    ("environment.greening", "U-GREEN", None),
    ("public", "U-POLICE", "U-PS"),
    ("public.street_vendor", "U-URBAN", "U-ST"),
    ("housing", "U-URBAN", "U-PM"),
    ("traffic", "U-POLICE", "U-PS"),
    ("community", "U-CENTRE", "U-ST"),
    ("safety", "U-CENTRE", "U-ST"),
    ("market", "U-URBAN", "U-ST"),
    ("device", "U-MAINT", None),
    ("system", "U-IT", None),
)


# Who stands in: units that keep office hours, and those that can be full. A street's own is named without its number.
_FALLBACKS = {
    "U-RESERVOIR": "U-FLOOD",
    "U-DRAIN": "U-MUNICIPAL",
    "U-URBAN": "U-CENTRE",
    "U-ENV": "U-CENTRE",
    "U-CLEAN": "U-ENV",
    "U-GREEN": "U-ENV",
    "U-MAINT": "U-IT",
    "U-ST": "U-CENTRE",
    "U-FS": "U-FIRE",
    "U-PS": "U-POLICE",
    "U-PM": "U-ST",
}
_CAPACITIES = {"U-FS": 12, "U-PS": 30, "U-PM": 25, "U-ST": 40, "U-DRAIN": 60, "U-CLEAN": 60, "U-GREEN": 40}
# code prefix, name, days, from, to: the rest is there day and night
_SHIFTS = (
    ("U-GREEN", "白班", "working", "08:30", "18:00"),
    ("U-ENV", "白班", "working", "08:30", "18:00"),
    ("U-ENV", "节假日值班", "off", "09:00", "17:00"),
    ("U-CLEAN", "早班", "all", "05:00", "13:00"),
    ("U-CLEAN", "晚班", "all", "13:00", "21:00"),
    ("U-PM", "白班", "all", "08:00", "20:00"),
    ("U-PM", "夜班", "12345", "20:00", "08:00"),
)


def units(streets: int, middles: Sequence[tuple[float, float]] = ()) -> list[Row]:
    """Sixteen units of the district and four in each street: forty for six streets.

    ``middles`` are longitude and latitude of each street's middle, where its units have their base.
    """
    rows = [
        _unit(i, code, (name, name_en), kind, "U-CENTRE")
        for i, (code, name, name_en, kind) in enumerate(_DISTRICT_UNITS)
    ]
    rows[0]["parent"] = ""
    for prefix, suffix, suffix_en, kind, parent in _STREET_UNITS:
        for street in range(streets):
            name, name_en = names.street(street)
            place, place_en = name.removesuffix("街道"), name_en.removesuffix(" Street")
            above = f"{parent}-{street + 1:02d}" if parent == "U-ST" else parent
            code = f"{prefix}-{street + 1:02d}"
            rows.append(_unit(len(rows), code, (place + suffix, f"{place_en} {suffix_en}"), kind, above))
            if middles:
                rows[-1]["lon"], rows[-1]["lat"] = (f"{degrees:.5f}" for degrees in middles[street])
    return rows


def shifts(streets: int) -> list[Row]:
    """Of the units that are not there day and night."""
    return [
        {"unit": code, "name": name, "days": days, "from": begins, "to": ends}
        for prefix, name, days, begins, ends in _SHIFTS
        for code in _codes(prefix, streets)
    ]


def roster(streets: int) -> list[Row]:
    """Two people for each unit with shifts, for years: the demonstration has no one to carry a list on."""
    rows: list[Row] = []
    for prefix in dict.fromkeys(entry[0] for entry in _SHIFTS):
        for code in _codes(prefix, streets):
            for half in ("一", "二"):
                surname, _ = names.SURNAMES[len(rows) % len(names.SURNAMES)]
                rows.append(
                    {
                        "unit": code,
                        "person": f"{surname}值班员{half}",
                        "phone": f"000-5552-{len(rows) + 1:04d}",
                        "from": "2026-01-01 00:00",
                        "to": "2036-01-01 00:00",
                    }
                )
    return rows


def _codes(prefix: str, streets: int) -> list[str]:
    """The unit itself, or that of each street."""
    if any(prefix == entry[0] for entry in _STREET_UNITS):
        return [f"{prefix}-{street + 1:02d}" for street in range(streets)]
    return [prefix]


def responsibilities(street_codes: list[str]) -> list[Row]:
    """Each category prefix for the whole district, and before it the street's own unit where there is one."""
    rows = []
    for category, district_unit, street_unit in _DUTIES:
        if street_unit is not None:
            for number, area in enumerate(street_codes, start=1):
                rows.append(_duty(category, "street", area, f"{street_unit}-{number:02d}"))
        rows.append(_duty(category, "", "", district_unit))
    return rows


def _unit(number: int, code: str, named: tuple[str, str], kind: str, parent: str) -> Row:
    surname, _ = names.SURNAMES[number % len(names.SURNAMES)]
    prefix, _, street = code.rpartition("-") if code[-1].isdigit() else (code, "", "")
    fallback = _FALLBACKS.get(prefix, "")
    if fallback == "U-ST":
        fallback = f"{fallback}-{street}"
    mailbox = code.removeprefix("U-").lower()
    return {
        "code": code,
        "name": named[0],
        "name_en": named[1],
        "kind": kind,
        "parent": parent,
        "lead": f"{surname}值班长",
        "phone": f"000-5550-{number + 1:04d}",
        "lead_phone": f"000-5551-{number + 1:04d}",
        "email": f"{mailbox}@district.invalid",
        "lead_email": f"{mailbox}-lead@district.invalid",
        "webhook_url": "",
        "tier": "street" if street else "district",
        "capacity": str(_CAPACITIES.get(prefix, "")),
        "fallback": fallback,
        "hours": "",
        "lon": "",
        "lat": "",
    }


def _duty(category: str, layer: str, area: str, unit: str) -> Row:
    return {
        "category": category,
        "area_layer": layer,
        "area": area,
        "unit": unit,
        "class": "",
        "limit_minutes": "",
        "clock": "",
    }
