"""A few patrol routes of the demonstration district: rows of ``patrol_routes.csv``."""

from typing import TypeAlias

from simulators import names
from simulators.ground import Cell

Row: TypeAlias = dict[str, str]

# what stands there, checklist, cadence; one point of each on every route
_SCENES = (
    ("小餐馆", "small_venue", "weekly"),
    ("工地", "construction_site", "daily"),
    ("住宅楼消防通道", "fire_exits", "daily"),
    ("燃气用户", "gas_use", "monthly"),
    ("小学周边", "school_surroundings", "daily"),
)
ROUTES = 3  # one in each of the first communities


def routes(cells: list[Cell], codes: list[str]) -> list[Row]:
    """One route in each of the first communities, its points in that community's cells, in turn."""
    rows = []
    for community in sorted({cell.community for cell in cells})[:ROUTES]:
        own = [(cell, code) for cell, code in zip(cells, codes, strict=True) if cell.community == community]
        name, name_en = names.community(community)
        for number, (scene, checklist, cadence) in enumerate(_SCENES):
            cell, code = own[number % len(own)]
            longitude, latitude = cell.centre
            rows.append(
                {
                    "route": f"R-{community + 1:02d}",
                    "route_name": f"{name}巡查路线",
                    "route_name_en": f"{name_en} patrol",
                    "point": f"P{number + 1}",
                    "name": f"{name}{scene}",
                    "cell": code,
                    "building": "",
                    "lon": f"{longitude:.6f}",
                    "lat": f"{latitude:.6f}",
                    "checklist": checklist,
                    "cadence": cadence,
                }
            )
    return rows
