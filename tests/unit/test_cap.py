"""CAP 1.2: what we write validates against the schema, what others write is read without trusting them."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from command_centre.flood import cap, cap_check, cap_xml
from command_centre.flood.cap import Alert, Area, CapError, Circle, Info, Named, Reference, Resource

CHINA = timezone(timedelta(hours=8))
NOON = datetime(2026, 11, 22, 12, tzinfo=CHINA)
SQUARE = ((22.5, 114.0), (22.5, 114.1), (22.6, 114.1), (22.5, 114.0))


@pytest.fixture(scope="session")
def vectors(shared_data: Path) -> Path:
    folder = shared_data / "vectors" / "cap"
    if not (folder / "CAP-v1.2.xsd").is_file():
        pytest.skip(f"no CAP schema at {folder}; set CITY_SHARED to the folder that holds vectors/")
    return folder


@pytest.fixture(scope="session")
def schema(vectors: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(vectors / "CAP-v1.2.xsd"))


@pytest.fixture(scope="session")
def cases(vectors: Path) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = json.loads((vectors / "field_cases.json").read_text())
    return found


def info(**changes: Any) -> Info:
    base = Info(
        language="zh-CN",
        categories=("Met",),
        event="洪水",
        urgency="Expected",
        severity="Severe",
        certainty="Likely",
        expires=NOON + timedelta(hours=6),
        headline="洪水橙色预警",
        areas=(Area(description="东街", polygons=(SQUARE,)),),
    )
    return replace(base, **changes)


def alert(**changes: Any) -> Alert:
    base = Alert(
        identifier="440399-flood-7-1",
        sender="flood@district.invalid",
        sent=NOON,
        status="Actual",
        message_type="Alert",
        scope="Public",
        infos=(info(),),
    )
    return replace(base, **changes)


# ── the four samples of the standard ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_standards_samples_parse_and_round_trip(
    vectors: Path, schema: etree.XMLSchema, number: int
) -> None:
    content = (vectors / f"oasis_cap12_appendix_a{number}.xml").read_bytes()
    read = cap_xml.parse(content)
    written = cap_xml.write(read)
    assert cap_xml.parse(written) == read
    schema.assertValid(etree.fromstring(written))
    words = " ".join("".join(etree.fromstring(content).itertext()).split())
    assert " ".join("".join(etree.fromstring(written).itertext()).split()) == words


def test_a_samples_parts_are_read(vectors: Path) -> None:
    amber = cap_xml.parse((vectors / "oasis_cap12_appendix_a4.xml").read_bytes())
    assert amber.sender == "KARO@CLETS.DOJ.CA.GOV"
    assert amber.sent.isoformat() == "2003-06-11T22:39:00-07:00"
    assert [one.language for one in amber.infos] == ["en-US", "es-US"]
    assert amber.infos[1].event == "Abducción de Niño"
    assert amber.infos[0].areas[0].geocodes == (Named(name="SAME", value="006037"),)


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────

READERS: dict[str, Callable[[str], object]] = {
    "references": cap.read_references,
    "polygon": cap.read_polygon,
    "circle": cap.read_circle,
    "datetime": cap.read_instant,
    "addresses": lambda text: cap.read_listed(text, "addresses"),
    "incidents": lambda text: cap.read_listed(text, "incidents"),
}


@pytest.mark.parametrize("field", READERS)
def test_fields_as_others_judged_them(cases: dict[str, dict[str, list[str]]], field: str) -> None:
    assert cases[field]["valid"]
    for text in cases[field]["valid"]:
        READERS[field](text)
    for text in cases[field]["invalid"]:
        with pytest.raises(CapError):
            READERS[field](text)


@pytest.mark.parametrize(
    ("text", "element"),
    [
        ("2026-11-22T08:15:00.5+08:00", "time"),
        ("2026-11-22T08:15:00", "time"),
        ("2026-02-30T08:15:00+08:00", "time"),
        ("2026-11-22T08:15:00+99:00", "time"),
        ("", "time"),
    ],
)
def test_an_instant_that_cap_does_not_know(text: str, element: str) -> None:
    with pytest.raises(CapError) as caught:
        cap.read_instant(text)
    assert caught.value.field == element


def test_utc_is_written_without_z() -> None:
    assert cap.write_instant(datetime(2026, 11, 22, 4, tzinfo=UTC)) == "2026-11-22T04:00:00-00:00"
    assert cap.write_instant(NOON) == "2026-11-22T12:00:00+08:00"
    with pytest.raises(CapError):
        cap.write_instant(datetime(2026, 11, 22))  # noqa: DTZ001  # the fault is meant


@pytest.mark.parametrize("pair", ["91,10", "10,181", "nan,1", "1e3,1", "inf,inf", "1;2", "1,2,3"])
def test_a_place_that_is_not_on_the_globe(pair: str) -> None:
    with pytest.raises(CapError):
        cap.read_polygon(f"{pair} 1,1 2,2 {pair}")


def test_names_with_spaces_stand_in_quotation_marks() -> None:
    written = cap.write_listed(["duty officer", "a@example.com"])
    assert written == '"duty officer" a@example.com'
    assert cap.read_listed(written, "addresses") == ("duty officer", "a@example.com")


# ── whatever people type ─────────────────────────────────────────────────────────────────────────────

anything = st.text(max_size=300)
typed = anything.map(cap.clean)
filled = typed.filter(lambda text: text.strip() != "")
named = st.builds(Named, name=filled.map(lambda text: text[:150]), value=typed)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIRST, LAST = datetime(1971, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001  # hypothesis wants them bare
instants = st.datetimes(min_value=FIRST, max_value=LAST, timezones=offsets).map(
    lambda at: at.replace(microsecond=0)
)
names = st.from_regex(r"[A-Za-z0-9@._:-]{1,40}", fullmatch=True)
degrees = st.floats(min_value=-89, max_value=89, allow_nan=False)


@st.composite
def polygons(draw: st.DrawFn) -> cap.Polygon:
    lat, lon = draw(degrees), draw(degrees)
    size = draw(st.floats(min_value=0.001, max_value=1))
    return ((lat, lon), (lat, lon + size), (lat + size, lon + size), (lat, lon))


areas = st.builds(
    Area,
    description=filled,
    polygons=st.lists(polygons(), max_size=2).map(tuple),
    circles=st.lists(
        st.builds(Circle, centre=st.tuples(degrees, degrees), radius_km=st.floats(0, 500)), max_size=1
    ).map(tuple),
    geocodes=st.lists(named, max_size=2).map(tuple),
    altitude=st.none() | st.decimals(-1000, 30000, places=1).map(lambda value: Decimal(str(value))),
)


@st.composite
def alerts(draw: st.DrawFn) -> Alert:
    sent = draw(instants)
    blocks = st.builds(
        Info,
        language=st.sampled_from(["zh-CN", "en", "es-US"]),
        categories=st.lists(st.sampled_from(get_args(cap.Category)), min_size=1, max_size=2).map(tuple),
        event=filled,
        responses=st.lists(st.sampled_from(get_args(cap.Response)), max_size=2).map(tuple),
        urgency=st.sampled_from(get_args(cap.Urgency)),
        severity=st.sampled_from(get_args(cap.Severity)),
        certainty=st.sampled_from(get_args(cap.Certainty)),
        headline=filled.map(lambda text: text[:160]).filter(lambda text: text.strip() != ""),
        description=typed,
        instruction=typed,
        contact=typed,
        web=st.sampled_from(["", "https://district.invalid/flood?a=1&b=2"]),
        onset=st.just(sent) | st.none(),
        expires=st.integers(1, 10**6).map(lambda seconds: sent + timedelta(seconds=seconds)),
        parameters=st.lists(named, max_size=3).map(tuple),
        resources=st.lists(
            st.builds(Resource, description=filled, mime_type=st.just("image/png"), size=st.integers(0, 10**9)),
            max_size=1,
        ).map(tuple),
        areas=st.lists(areas, min_size=1, max_size=2).map(tuple),
    )  # fmt: skip
    earlier = st.builds(Reference, sender=names, identifier=names, sent=instants)
    return Alert(
        identifier=draw(names),
        sender=draw(names),
        sent=sent,
        status=draw(st.sampled_from(get_args(cap.Status))),
        message_type=draw(st.sampled_from(["Alert", "Update", "Cancel"])),
        scope="Public",
        note=draw(typed),
        codes=tuple(draw(st.lists(filled.filter(lambda text: '"' not in text), max_size=2))),
        references=tuple(draw(st.lists(earlier, min_size=1, max_size=3))),
        incidents=tuple(draw(st.lists(names, max_size=2))),
        infos=tuple(draw(st.lists(blocks, min_size=1, max_size=2))),
    )


@given(alerts())
def test_every_message_we_would_issue_is_valid_and_reads_back(schema: etree.XMLSchema, made: Alert) -> None:
    assert cap_check.faults(made) == []
    written = cap_xml.write(made)
    schema.assertValid(etree.fromstring(written))
    assert cap_xml.parse(written) == made


@given(anything)
def test_what_is_left_of_a_text_can_be_written(text: str) -> None:
    left = cap.clean(text)
    made = alert(infos=(info(description=left),))
    assert cap_xml.parse(cap_xml.write(made)).infos[0].description == left
    assert cap.clean(left) == left


@given(st.sampled_from("\x00\x01\x08\x0b\x0c\x1f\x7f\x85\ud800\udfff\ufffe\uffff"))
def test_control_characters_are_named_before_anything_is_issued(character: str) -> None:
    made = alert(infos=(info(description=f"水{character}位"),))
    assert [fault.field for fault in cap_check.faults(made)] == ["info[zh-CN].description"]
    assert cap.clean(f"水{character}位") == "水位"


def test_the_longest_text_is_carried(schema: etree.XMLSchema) -> None:
    long = ("水<&>]]>\n" * 1000)[: cap_check.LONGEST_TEXT]
    made = alert(infos=(info(description=long, instruction=long),))
    assert cap_check.faults(made) == []
    written = cap_xml.write(made)
    schema.assertValid(etree.fromstring(written))
    assert cap_xml.parse(written) == made


# ── before one is issued ─────────────────────────────────────────────────────────────────────────────


def test_a_whole_message_has_no_fault() -> None:
    assert cap_check.faults(alert()) == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (alert(identifier="a b"), "identifier"),
        (alert(identifier="a,b"), "identifier"),
        (alert(identifier=""), "identifier"),
        (alert(sender="a<b"), "sender"),
        (alert(sent=datetime(2026, 1, 1)), "sent"),  # noqa: DTZ001  # the fault is meant
        (alert(sent=NOON.replace(microsecond=5)), "sent"),
        (alert(status="Real"), "status"),
        (alert(message_type="Update"), "references"),
        (alert(message_type="Cancel"), "references"),
        (alert(scope="Private"), "addresses"),
        (alert(scope="Restricted"), "restriction"),
        (alert(infos=()), "info"),
        (alert(infos=(info(headline=""),)), "info[zh-CN].headline"),
        (alert(infos=(info(headline="水" * 161),)), "info[zh-CN].headline"),
        (alert(infos=(info(description="水" * 8001),)), "info[zh-CN].description"),
        (alert(infos=(info(language="中文"),)), "info[中文].language"),
        (alert(infos=(info(expires=None),)), "info[zh-CN].expires"),
        (alert(infos=(info(expires=NOON),)), "info[zh-CN].expires"),
        (alert(infos=(info(onset=NOON + timedelta(hours=7)),)), "info[zh-CN].expires"),
        (alert(infos=(info(web="javascript:alert(1)"),)), "info[zh-CN].web"),
        (alert(infos=(info(areas=()),)), "info[zh-CN].area"),
        (alert(infos=(info(severity="红色"),)), "info[zh-CN].severity"),
        (alert(infos=(info(areas=(Area(description=""),)),)), "info[zh-CN].areaDesc"),
    ],
)
def test_a_fault_names_its_element(changed: Alert, field: str) -> None:
    found = cap_check.faults(changed)
    assert [fault.field for fault in found] == [field]
    assert found[0].remedy
    assert found[0].remedy_zh


@pytest.mark.parametrize(
    "polygon",
    [
        SQUARE[:3],
        (*SQUARE[:3], (22.51, 114.0)),
        ((122.5, 14.0), (122.5, 14.1), (122.6, 14.1), (122.5, 14.0)),
        ((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)),
        ((0.0, 0.0), (float("nan"), 1.0), (0.0, 1.0), (0.0, 0.0)),
    ],
)
def test_an_outline_that_cannot_be_drawn(polygon: cap.Polygon) -> None:
    made = alert(infos=(info(areas=(Area(description="东街", polygons=(polygon,)),)),))
    assert [fault.field for fault in cap_check.faults(made)] == ["info[zh-CN].polygon"]


# ── hostile senders ──────────────────────────────────────────────────────────────────────────────────

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'
    f'<alert xmlns="{cap_xml.NAMESPACE}"><identifier>&y;</identifier></alert>'
)
FILE = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    f'<alert xmlns="{cap_xml.NAMESPACE}"><identifier>&x;</identifier></alert>'
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB.encode(), "document type"),
        (BOMB.replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"), "document type"),
        (FILE.encode(), "document type"),
        (b"<alert/>", "namespace"),
        (b"", "well-formed"),
        (b"\x00\xff", "well-formed"),
        (b" " * (cap_xml.LARGEST + 1), "larger"),
        (f'<alert xmlns="{cap_xml.NAMESPACE}"/>'.encode(), "missing"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(CapError, match=said):
        cap_xml.parse(content)


@given(st.binary(max_size=200))
def test_rubbish_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(CapError) as caught:
        cap_xml.parse(content)
    assert "\n" not in str(caught.value)


def test_a_wrong_word_is_named_with_the_known_ones() -> None:
    content = cap_xml.write(alert()).replace(b"<urgency>Expected", b"<urgency>Soon")
    with pytest.raises(CapError, match=r"urgency = 'Soon': use one of Immediate, Expected"):
        cap_xml.parse(content)
