"""The catalogue by itself: the matrix, the tree, sheets with their faults, and what would become of a change."""

import csv
import io
import random
import zipfile
from importlib import resources
from itertools import pairwise
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import catalogue
from city.catalogue_columns import COLUMNS, texts_of, written
from city.catalogue_plan import Plan, Usage, plan
from city.catalogue_reading import Reading, Table, read
from city.catalogue_sheet import LARGEST_FILE, SheetError, read_sheet
from city.clocks import LimitError, read_limit
from city.units import Category

HEADER = ("code", "parent", "name", "class", "importance", "urgency", "nature", "limits", "active")


def built_in() -> dict[str, Category]:
    content = (resources.files("city") / "defaults" / "categories.csv").read_bytes()
    return known(read(read_sheet(content, "categories.csv")))


def known(reading: Reading) -> dict[str, Category]:
    assert reading.header_faults == ()
    assert [line.faults for line in reading.lines if line.faults] == []
    return {line.category.code: line.category for line in reading.lines}


def sheet(*rows: dict[str, object], header: tuple[str, ...] = HEADER) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def one(**cells: object) -> Reading:
    given = {"code": "gas", "name": "燃气", "class": "B", "nature": "alarm", **cells}
    return read(read_sheet(sheet(given, header=tuple(given)), "x.csv"))


def faults(reading: Reading) -> list[tuple[int, str]]:
    return [(fault.row, fault.column) for line in reading.lines for fault in line.faults]


def workbook(*rows: list[object], sheets: int = 0) -> bytes:
    book = openpyxl.Workbook()
    for number in range(sheets):
        book.create_sheet(f"empty {number}", 0)
    page = book["Sheet"]
    for row in rows:
        page.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


# ── class, tree, family, limits ──────────────────────────────────────────────────────────────────────


def test_the_class_never_falls_with_more_importance_or_urgency() -> None:
    found = [
        [catalogue.class_of_matrix(importance, urgency) for urgency in (1, 2, 3)] for importance in (1, 2, 3)
    ]
    assert found == [["C", "C", "B"], ["C", "B", "A"], ["B", "A", "A"]]
    for row in [*found, *zip(*found, strict=True)]:
        assert all(later <= earlier for earlier, later in pairwise(row))


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (4, 1), (1, 4)])
def test_nothing_beyond_the_matrix_has_a_class(pair: tuple[int, int]) -> None:
    with pytest.raises((KeyError, IndexError)):
        catalogue.class_of_matrix(*pair)


def test_the_tree_is_in_the_codes() -> None:
    codes = ["fire", "fire.smoke", "fire.exit_blocked", "fire.exit_blocked.vehicle"]
    assert catalogue.parent_of("fire") is None
    assert catalogue.ways_up(codes[3:]) == {"fire", "fire.exit_blocked"}
    assert catalogue.children(codes) == {"fire": 2, "fire.exit_blocked": 1}
    assert catalogue.leaves(codes) == ["fire.exit_blocked.vehicle", "fire.smoke"]


@pytest.mark.parametrize(
    ("one_code", "other", "same"),
    [
        ("fire.smoke", "fire.detection", True),
        ("fire.smoke", "fire.burning.building", True),
        ("fire.smoke", "fire.hydrant.damaged", False),
        ("fire.hydrant", "fire.hydrant.damaged", True),
        ("flood.level", "flood.waterlogging.underpass", True),
        ("flood.level", "flood.evacuation", False),
        ("facility.manhole", "facility.manhole.missing", True),
        ("facility.manhole.missing", "facility.streetlight.out", False),
        ("public.person", "public.animal.stray", False),
        ("traffic.accident.injury", "traffic.parking.zombie", False),
        ("device.silent", "device.fault.sensor", True),
    ],
)
def test_signs_of_one_event_are_one_family(one_code: str, other: str, *, same: bool) -> None:
    assert (catalogue.family(one_code) == catalogue.family(other)) is same


@pytest.mark.parametrize("nature", ["consultation", "suggestion", "complaint"])
def test_what_people_ask_has_three_working_days(nature: Any) -> None:
    assert str(catalogue.usual_limit(nature, "C")) == "3wd"
    assert str(catalogue.usual_limit("alarm", "A")) == "30m"


def test_limits_by_class_read_and_write_the_same() -> None:
    limits = catalogue.read_class_limits("C=3wd; A=30m;B=4wh")
    assert catalogue.write_class_limits(limits) == "A=30m;B=240wm;C=3wd"
    assert catalogue.read_class_limits("") == {}
    with pytest.raises(LimitError, match="D=1h"):
        catalogue.read_class_limits("D=1h")


def test_the_stage_beats_the_class_beats_the_old_form() -> None:
    category = known(one(limits="", class_limits="", limit_minutes="90", clock="working"))["gas"]
    assert str(catalogue.handling_limit_of(category)) == "90wm"
    category = known(one(class_limits="B=4h", limit_minutes="90"))["gas"]
    assert str(catalogue.handling_limit_of(category)) == "240m"
    category = known(one(class_limits="B=4h", limits="handle=2wd", limit_minutes="90"))["gas"]
    assert str(catalogue.handling_limit_of(category)) == "2wd"
    assert (category.limit_minutes, category.clock) == (840, "working")


def test_a_retired_or_unknown_category_cannot_be_chosen() -> None:
    active, retired = known(one())["gas"], known(one(active="否"))["gas"]
    assert catalogue.why_not_chosen(active, "gas") is None
    for found in (catalogue.why_not_chosen(retired, "gas"), catalogue.why_not_chosen(None, "gas")):
        assert found is not None
        assert all("gas" in words for words in found)


# ── the built-in catalogue ───────────────────────────────────────────────────────────────────────────


def test_the_built_in_catalogue_is_a_whole_tree_in_both_languages() -> None:
    found = built_in()
    leaves = catalogue.leaves(found)
    assert len(leaves) >= 150
    assert sum(leaf.count(".") == 2 for leaf in leaves) > len(leaves) / 2
    tops = {
        "fire",
        "flood",
        "facility",
        "environment",
        "housing",
        "building",
        "traffic",
        "public",
        "device",
        "system",
    }
    assert tops <= found.keys()
    assert catalogue.ways_up(found) <= found.keys()
    assert len({category.name for category in found.values()}) == len(found)
    assert len({category.name_en.lower() for category in found.values()}) == len(found)
    natures = {category.nature for category in found.values()}
    assert natures == set(catalogue.NATURES)


def test_the_built_in_classes_are_those_of_the_matrix() -> None:
    for category in built_in().values():
        assert category.importance is not None
        assert category.urgency is not None
        assert category.incident_class == catalogue.class_of_matrix(category.importance, category.urgency), (
            category
        )


def test_what_rules_and_people_knew_keeps_class_and_limit() -> None:
    found = built_in()
    facts = {
        code: (found[code].incident_class, found[code].limit_minutes, found[code].clock) for code in found
    }
    assert facts["fire.smoke"] == ("A", 30, "natural")
    assert facts["flood.level"] == ("B", 60, "natural")
    assert facts["public.person"] == ("C", 120, "natural")
    assert facts["device.silent"] == ("C", 1440, "working")
    assert facts["facility.manhole"] == ("B", 120, "natural")
    leaves = set(catalogue.leaves(found))
    assert {"fire.smoke", "fire.detection", "flood.level", "device.silent", "system.ingest"} <= leaves


def test_the_built_in_limits_follow_practice() -> None:
    found = built_in()
    for code in catalogue.leaves(found):
        category = found[code]
        limit = catalogue.handling_limit_of(category)
        if category.nature in ("consultation", "suggestion"):
            assert str(limit) in {"3wd", "5wd", "1wd"}, code
        if category.incident_class == "A":
            assert limit.unit == "natural", code
            assert limit.amount <= 240, code
        if "handle" in category.limits:
            assert category.limit_minutes == catalogue.minutes_of(limit)


# ── sheets ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_catalogue_reads_as_it_was_written() -> None:
    before = built_in()
    for chinese in (True, False):
        text = written(before.values(), chinese=chinese)
        assert known(read(read_sheet(text.encode("utf-8-sig"), "x.csv"))) == before


def test_spreadsheets_of_this_country_are_read() -> None:
    text = "编码,名称,等级,性质\ngas,燃气,A,投诉\n"
    assert known(read(read_sheet(text.encode("gb18030"), "x.csv")))["gas"].nature == "complaint"


def test_a_workbook_is_read_as_people_typed_it() -> None:
    content = workbook(
        ["编码", "名称", "重要程度", "紧急程度", "性质", "时限分钟", "启用"],
        ["gas", "燃气", "高", 3, "求决", 30.0, True],
        [None, None, None, None, None, None, None],
        ["gas.leak", "泄漏", 3, "3", "报警", None, False],
        sheets=1,
    )
    found = read(read_sheet(content, "x.xlsx"))
    assert [line.row for line in found.lines] == [2, 4]
    gas = known(found)["gas"]
    assert (gas.incident_class, gas.nature, gas.limit_minutes, gas.active) == ("A", "request", 30, True)
    assert known(found)["gas.leak"].active is False


def test_columns_a_sheet_does_not_have_stay_as_they_are() -> None:
    before = known(one(plan="gas-leak", limits="handle=2h", importance="2", urgency="2"))
    sent = sheet({"code": "gas", "name": "煤气"}, header=("code", "name"))
    after = known(read(read_sheet(sent, "x.csv"), before))["gas"]
    assert (after.name, after.plan, str(after.limits["handle"])) == ("煤气", "gas-leak", "120m")
    emptied = sheet({"code": "gas", "name": "煤气", "plan": ""}, header=("code", "name", "plan"))
    assert known(read(read_sheet(emptied, "x.csv"), before))["gas"].plan == ""


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"code": "Gas"}, "code"),
        ({"code": "a.b.c.d"}, "code"),
        ({"code": ""}, "code"),
        ({"code": "gas\u0661"}, "code"),
        ({"code": "gas.leak", "parent": "fire"}, "parent"),
        ({"code": "gas", "parent": "gas.leak"}, "parent"),
        ({"code": "gas", "parent": "gas"}, "parent"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"class": "D"}, "class"),
        ({"class": "", "importance": "2"}, "class"),
        ({"importance": "4"}, "importance"),
        ({"urgency": "0"}, "urgency"),
        ({"nature": "gossip"}, "nature"),
        ({"event_level": "5"}, "event_level"),
        ({"limit_minutes": "0"}, "limit_minutes"),
        ({"limit_minutes": "1.5"}, "limit_minutes"),
        ({"clock": "office"}, "clock"),
        ({"limits": "handle=soon"}, "limits"),
        ({"limits": "rest=3d"}, "limits"),
        ({"class_limits": "A"}, "class_limits"),
        ({"plan": "a b"}, "plan"),
        ({"automatic": "maybe"}, "automatic"),
        ({"active": "perhaps"}, "active"),
    ],
)
def test_every_fault_names_its_cell(cells: dict[str, object], column: str) -> None:
    found = [fault for line in one(**cells).lines for fault in line.faults]
    assert [(fault.row, fault.column) for fault in found] == [(2, column)]
    assert found[0].value == str(cells[column])[:200]
    assert found[0].remedy
    assert any("\u4e00" <= letter <= "\u9fff" for letter in found[0].remedy_zh)


def test_a_class_beside_the_matrix_is_allowed_and_noted() -> None:
    (line,) = one(**{"class": "A"}, importance="1", urgency="1").lines
    assert line.faults == ()
    assert line.category.incident_class == "A"
    assert "C" in line.note
    assert "C" in line.note_en


def test_a_code_stands_once() -> None:
    row = {"code": "gas", "name": "气", "class": "B", "nature": "alarm"}
    assert faults(read(read_sheet(sheet(row, row), "x.csv"))) == [(3, "code")]


@pytest.mark.parametrize(
    ("header", "column"),
    [("code,name,colour", "colour"), ("code", "name"), ("code,name,name", "name"), ("code,name,,class", "")],
)
def test_a_wrong_header_stops_everything(header: str, column: str) -> None:
    found = read(read_sheet(f"{header}\ngas,气,B\n".encode(), "x.csv"))
    assert [fault.column for fault in found.header_faults] == [column]
    assert found.lines == ()


def test_more_cells_than_columns_are_not_lost_silently() -> None:
    assert faults(read(read_sheet(b"code,name,class,nature\ngas,a,B,alarm,forgotten\n", "x.csv"))) == [
        (2, "")
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"\xff\xfe\x00",
        b"code,name\n\x00",
        b"PK\x03\x04 and then nothing",
        b'code,name\n"' + b"x" * 3000 + b'"\n',
        b"," * 100,
        b"x" * (LARGEST_FILE + 1),
        b"code,name\n" + b"a,b\n" * 20_001,
    ],
)
def test_what_is_no_table_is_refused_in_both_languages(content: bytes) -> None:
    with pytest.raises(SheetError) as caught:
        read_sheet(content, "x")
    assert caught.value.reason_zh
    assert str(caught.value)


def repacked(content: bytes, part: str, change: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == part else old.read(name))
    return made.getvalue()


PAGE = "xl/worksheets/sheet1.xml"
ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: ENTITIES + xml,
        lambda xml: b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + xml,
        lambda xml: ('<?xml version="1.0" encoding="UTF-16"?>' + ENTITIES.decode() + "<x/>").encode("utf-16"),
        lambda xml: xml[: len(xml) // 2],
        lambda xml: xml + b" " * 40_000_000,
    ],
    ids=["entities", "outside", "hidden in UTF-16", "cut off", "bomb"],
)
def test_a_hostile_workbook_is_refused_at_once(change: Any) -> None:
    hostile = repacked(workbook(["code", "name"], ["gas", "x"]), PAGE, change)
    assert len(hostile) < 200_000
    with pytest.raises(SheetError):
        read_sheet(hostile, "x.xlsx")


def test_a_sheet_formatted_to_its_last_row_is_still_read() -> None:
    content = workbook(["code", "name", "class", "nature"], ["gas", "气", "B", "alarm"])
    far = repacked(
        content, PAGE, lambda xml: xml.replace(b"</sheetData>", b'<row r="1048576"></row></sheetData>')
    )
    assert known(read(read_sheet(far, "x.xlsx"))).keys() == {"gas"}


def test_a_formula_that_fails_is_named() -> None:
    with pytest.raises(SheetError, match="row 2"):
        read_sheet(workbook(["code", "name"], ["gas", "#REF!"]), "x.xlsx")


@given(st.lists(st.lists(st.text(max_size=12), max_size=len(COLUMNS) + 1), max_size=6), st.randoms())
def test_rubbish_in_a_sheet_is_a_fault_and_never_a_crash(rows: list[list[str]], order: random.Random) -> None:
    header = list(COLUMNS)
    order.shuffle(header)
    found = read(Table(name="x", header=header, rows=list(enumerate(rows, 2))))
    assert len(found.lines) == len(rows)
    outcome = plan(found, {}, {})
    assert len(outcome.rows) == len(rows)
    assert {row.code for row in outcome.rows if row.fate != "refused"} == {
        entry.code for entry in outcome.write
    }


@given(st.binary(max_size=400), st.sampled_from([b"", b"PK\x03\x04", b"code,name\n"]))
def test_any_bytes_are_a_table_or_refused(content: bytes, start: bytes) -> None:
    said: list[str] = []
    try:
        found = read(read_sheet(start + content, "x"))
        said += [fault.remedy_zh for fault in found.header_faults] or [str(len(found.lines))]
    except SheetError as refused:
        said.append(refused.reason_zh)
    assert all(said)
    assert said


# ── what would become of it ──────────────────────────────────────────────────────────────────────────


def planned(*rows: dict[str, object], usage: dict[str, Usage] | None = None, whole: bool = False) -> Plan:
    before = built_in()
    full = [{"class": "C", "nature": "alarm", "name": row["code"], **row} for row in rows]
    return plan(read(read_sheet(sheet(*full), "x.csv"), before), before, usage or {}, whole=whole)


def fates(found: Plan) -> dict[str, str]:
    return {row.code: row.fate for row in found.rows}


def test_every_row_has_a_fate() -> None:
    before = built_in()
    header = tuple(COLUMNS)
    same, changed = texts_of(before["fire.smoke"]), texts_of(before["fire.hydrant"]) | {"name": "消防栓"}
    new = texts_of(before["fire.hydrant"]) | {"code": "fire.hydrant.cap", "parent": "fire.hydrant"}
    lost = texts_of(before["fire.hydrant"]) | {"code": "gas.leak.odour", "parent": "gas.leak"}
    found = plan(read(read_sheet(sheet(same, changed, new, lost, header=header), "x"), before), before, {})
    assert fates(found) == {
        "fire.smoke": "same", "fire.hydrant": "changed", "fire.hydrant.cap": "new", "gas.leak.odour": "refused",
    }  # fmt: skip
    assert found.rows[1].changes == {"name": ("消火栓异常", "消防栓")}
    assert found.rows[3].faults[0].value == "gas.leak"
    assert found.refused
    assert [entry.code for entry in found.write] == ["fire.hydrant", "fire.hydrant.cap"]


def test_parents_may_come_later_in_the_sheet() -> None:
    found = planned({"code": "gas.leak"}, {"code": "gas"})
    assert fates(found) == {"gas.leak": "new", "gas": "new"}


def test_what_a_rule_raises_for_is_not_retired() -> None:
    row = {"code": "fire.smoke", "active": "0"}
    assert fates(planned(row, usage={"fire.smoke": Usage(open_incidents=3)})) == {"fire.smoke": "changed"}
    found = planned(row, usage={"fire.smoke": Usage(rules=2, open_incidents=3)})
    assert fates(found) == {"fire.smoke": "refused"}
    assert "2 rules in force" in found.rows[0].faults[0].remedy


def test_a_parent_is_not_retired_before_its_children() -> None:
    (row,) = planned({"code": "fire.hydrant", "active": "0"}).rows
    assert row.fate == "refused"
    assert "2 active categories below" in row.faults[0].remedy
    below = ("fire.hydrant.damaged", "fire.hydrant.no_water", "fire.hydrant")
    assert set(fates(planned(*({"code": code, "active": "0"} for code in below))).values()) == {"changed"}


def test_nothing_active_hangs_below_something_retired() -> None:
    found = planned({"code": "gas", "active": "0"}, {"code": "gas.leak", "active": "1"})
    assert {row.code for row in found.rows if row.fate == "refused"} == {"gas.leak"}


def test_a_whole_catalogue_retires_what_it_leaves_out_and_nothing_in_use() -> None:
    usage = {"fire.smoke": Usage(rules=1), "housing.renewal": Usage(open_incidents=4)}
    found = planned({"code": "gas"}, usage=usage, whole=True)
    by_code = {row.code: row for row in found.rows}
    assert by_code["fire.smoke"].fate == "refused"
    assert by_code["fire"].fate == "retired", "what holds it back is named where it is"
    assert by_code["housing.renewal"].fate == "retired"
    assert "4 open incidents" in by_code["housing.renewal"].note_en
    assert found.refused


def test_limits_are_spelled_in_one_way() -> None:
    assert (
        str(read_limit("4wh")) == texts_of(known(one(limits="handle=4wh"))["gas"])["limits"].partition("=")[2]
    )
