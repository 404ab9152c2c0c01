"""patrol_routes.csv: read with its faults named, and the same again when written."""

import csv
import io

import numpy as np
import pytest

from city.district_source import DistrictFilesError, Faults
from city.patrol_files import COLUMNS, lines, parse_patrol_routes
from command_centre import checklists
from simulators.ground import lay_out
from simulators.patrol import routes

HEAD = "route,route_name,point,name,checklist,cadence,lon,lat\n"


def written(rows: list[tuple[object, ...]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return out.getvalue()


def test_what_is_written_reads_the_same() -> None:
    faults = Faults()
    points = parse_patrol_routes(
        HEAD + "r1,东片,p1,一号楼,gas_use,daily,114.25,22.75\nr1,东片,p2,二号,x,weekly,,\n", faults
    )
    faults.raise_if_any()
    again = parse_patrol_routes(written(lines(points)), faults)
    assert [(one.route, one.code, one.longitude, one.cadence) for one in again] == [
        ("r1", "p1", 114.25, "daily"),
        ("r1", "p2", None, "weekly"),
    ]
    assert parse_patrol_routes("", faults) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("r 1,a,p1,b,c,daily,,", "route"),
        ("r1,a,p1,b,c,hourly,,", "cadence"),
        ("r1,a,p1,b,,daily,,", "checklist"),
        ("r1,a,p1,b,c,daily,114,", "lat"),
        ("r1,a,p1,b,c,daily,999,22", "lon"),
        ("r1,a,p1,b,c,daily,,\nr1,a,p1,b,c,daily,,", "already"),
    ],
)
def test_a_line_that_cannot_be_names_column_and_remedy(line: str, says: str) -> None:
    faults = Faults()
    parse_patrol_routes(HEAD + line + "\n", faults)
    with pytest.raises(DistrictFilesError, match=says):
        faults.raise_if_any()


def test_the_demonstration_districts_routes_read_and_use_known_checklists() -> None:
    ground = lay_out(np.random.default_rng(1), cells=60, communities=6, streets=2)
    rows = routes(ground, [f"c{number}" for number in range(len(ground))])
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    faults = Faults()
    points = parse_patrol_routes(out.getvalue(), faults)
    faults.raise_if_any()
    assert len({one.route for one in points}) == 3
    known = checklists.load(None)
    assert {one.checklist for one in points} == set(known)
