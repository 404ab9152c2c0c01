"""GeoReport v2: the published examples decode, and what we write has their shape."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from command_centre.open311 import georeport, reading, writing
from command_centre.open311.georeport import GeoReportError

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
STORED = georeport.Stored(
    id="638344000000",
    service_code="006",
    service_name="人行道",
    service_name_en="Sidewalk",
    description="裂缝 crack, call 13800138000 or li@example.com",
    state="dispatched",
    unit="市政",
    unit_en="Works",
    requested_at=NOW,
    updated_at=NOW + timedelta(minutes=1),
    due_at=NOW + timedelta(hours=1),
    address="八一路",
    address_id="",
    longitude=114.25,
    latitude=22.75,
    media_url="",
)


@pytest.fixture(scope="module")
def vectors() -> Path:
    folder = Path(os.environ.get("CITY_SHARED") or Path(__file__).parents[3] / "shared") / "vectors/open311"
    if not folder.is_dir():
        pytest.skip(f"no examples at {folder}; set CITY_SHARED to the folder that holds vectors/")
    return folder


@pytest.fixture(scope="module")
def samples(vectors: Path) -> dict[str, bytes]:
    listed = json.loads((vectors / "georeport_v2_spec_samples.json").read_text(encoding="utf-8"))["samples"]
    bodies = {name: str(sample["body"]) for name, sample in listed.items()}
    return {
        name: (body.split("\n\n", 1)[1] if body.startswith("HTTP") else body).encode()
        for name, body in bodies.items()
    }


def read(name: str, body: bytes) -> Any:
    return reading.read_json(body) if name.startswith("json") else reading.read_xml(body)


# ── what others published ─────────────────────────────────────────────────────────────────────────────


def test_every_sample_of_the_specification_decodes_and_both_formats_say_the_same(
    samples: dict[str, bytes],
) -> None:
    assert len(samples) >= 14
    for name in [name for name in samples if name.startswith("xml-")]:
        twin = name.replace("xml-", "json-")
        assert read(name, samples[name]) == read(twin, samples[twin]), name


def test_codes_keep_their_leading_zeros(samples: dict[str, bytes]) -> None:
    listed = read("json-service-list", samples["json-service-list"])
    assert [one["service_code"] for one in listed] == ["001", "002", "003"]


def test_every_fixture_decodes(vectors: Path) -> None:
    read_files = {path.name: reading.read_xml(path.read_bytes()) for path in vectors.glob("*.xml")}
    services: Any = read_files["fixture_services.xml"]
    assert len(services) == 36
    assert services[0]["group"] == "Litter Receptacles"
    assert read_files["fixture_service_requests_empty.xml"] == []
    assert read_files["fixture_get_service_request_not_found.xml"] == [
        {"code": "404", "description": "Service request not found with id or token not-an-id"}
    ]
    definition: Any = read_files["fixture_service_definition.xml"]
    assert definition["attributes"][0]["values"][1] == {"key": "124", "name": "Chrysler"}
    raw = json.loads((vectors / "fixture_403.json").read_text(encoding="utf-8"))["raw_http_response"]
    (older,) = reading.read_xml(raw.split("\n\n", 1)[1].encode())  # type: ignore[misc]  # a list, by its root
    assert older["description"].startswith("Invalid api_key")


def test_the_published_post_is_taken_with_all_it_says(vectors: Path) -> None:
    listed = json.loads((vectors / "georeport_v2_spec_samples.json").read_text(encoding="utf-8"))
    form = parse_qsl(listed["post_request_example"].split("\n\n", 1)[1])
    filed = georeport.filed(form)
    assert (filed.service_code, filed.latitude, filed.longitude) == ("001", 37.76524078, -122.4212043)
    assert (filed.name, filed.phone, filed.email) == ("john smith", "111111111", "smit333@sfgov.edu")
    assert filed.extra == (("WHISPAWN", "123456"), ("WHISDORN", "COISL001"))
    assert "sinkhole" in filed.text
    assert "WHISPAWN: 123456" in filed.text


def element_names(body: bytes) -> list[str]:
    return sorted(
        {str(element.tag) for element in etree.fromstring(body).iter() if isinstance(element.tag, str)}
    )


@pytest.mark.parametrize(
    ("sample", "root", "row"),
    [
        ("service-request", "service_requests", georeport.request_row(STORED, ZONE)),
        ("service-request-post", "service_requests", georeport.filed_row("1", "ABC", "")),
        ("errors", "errors", georeport.error_rows(403, ["no key"])[0]),
        (
            "service-list",
            "services",
            georeport.service_row(
                georeport.Service(code="001", name="桶", name_en="Cans", group="环卫", group_en="Sanitation")
            ),
        ),
    ],
)
def test_what_we_write_has_the_names_and_order_of_the_specification(
    samples: dict[str, bytes], sample: str, root: str, row: dict[str, object]
) -> None:
    published: Any = read(f"xml-{sample}", samples[f"xml-{sample}"])
    assert set(row) == set(published[0]) | ({"zipcode"} if "zipcode" in row else set())
    assert list(row) == [name for name in published[0] if name in row]
    ours, _ = writing.write(root, [row], "xml")
    assert element_names(ours) == element_names(samples[f"xml-{sample}"])
    as_json = json.loads(writing.write(root, [row], "json")[0])
    assert list(as_json[0]) == list(row)
    assert all(
        isinstance(value, str) for name, value in as_json[0].items() if name.endswith("code") and value
    )


def test_a_definition_has_the_specifications_shape(samples: dict[str, bytes]) -> None:
    published: Any = read("xml-service-definition", samples["xml-service-definition"])
    ours = georeport.definition_row("facility.manhole")
    (attribute,) = ours["attributes"]  # type: ignore[misc]  # a list of rows
    assert list(ours) == list(published)
    assert list(attribute) == list(published["attributes"][0])
    assert georeport.definition_row("fire.smoke")["attributes"] == []


def test_both_formats_read_back_as_one(samples: dict[str, bytes]) -> None:
    row = georeport.request_row(STORED, ZONE)
    as_xml = reading.read_xml(writing.write("service_requests", [row], "xml")[0])
    as_json = reading.read_json(writing.write("service_requests", [row], "json")[0])
    assert as_xml == as_json


# ── hostile input ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "hostile",
    [
        b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><services>&x;</services>',
        b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><services><service>&b;</service></services>',
        b"<services><service>",
        b"",
        b"[1, 2",
    ],
)
def test_entities_and_rubbish_are_refused(hostile: bytes) -> None:
    with pytest.raises(reading.ReadingError):
        reading.read_xml(hostile)


FIELDS = (
    "service_code",
    "lat",
    "long",
    "address_string",
    "media_url",
    "description",
    "attribute[A]",
    "api_key",
)


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=40)))
def test_any_form_is_taken_whole_or_refused_with_400(form: dict[str, str]) -> None:
    refusal = None
    try:
        filed = georeport.filed(list(form.items()))
    except GeoReportError as error:
        refusal = error
    if refusal is None:
        assert filed.service_code
        assert filed.latitude is not None or filed.address
    else:
        assert (refusal.status, bool(refusal.faults)) == (400, True)


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ({"lat": "1", "long": "2"}, "service_code"),
        ({"service_code": "a"}, "location"),
        ({"service_code": "a", "lat": "1"}, "long"),
        ({"service_code": "a", "lat": "nan", "long": "2"}, "Earth"),
        ({"service_code": "a", "lat": "1", "long": "200"}, "Earth"),
        ({"service_code": "a", "address_string": "b", "media_url": "javascript:alert(1)"}, "media_url"),
        ({"service_code": "a", "address_string": "b", "description": "x" * 4001}, "description"),
        ({"service_code": "a", "address_string": "b\x00"}, "control"),
    ],
)
def test_a_fault_is_named(form: dict[str, str], fault: str) -> None:
    with pytest.raises(GeoReportError, match=fault):
        georeport.filed(list(form.items()))


# ── searches ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_search_without_dates_is_the_last_ninety_days() -> None:
    asked = georeport.search({}, NOW)
    assert (asked.start, asked.end) == (NOW - timedelta(days=90), NOW)
    assert asked.statuses == ("open", "closed")


def test_a_search_takes_dates_with_zone_even_when_the_plus_was_not_escaped() -> None:
    asked = georeport.search({"start_date": "2026-11-01T08:00:00 08:00", "status": "open"}, NOW)
    assert asked.start == datetime(2026, 11, 1, tzinfo=UTC)
    assert asked.end == NOW
    assert asked.statuses == ("open",)


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "done"},
        {"start_date": "yesterday"},
        {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-06-01T00:00:00Z"},
        {"start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
        {"start_date": "2026-02-30T00:00:00Z"},
    ],
)
def test_a_search_that_cannot_be_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(GeoReportError) as refused:
        georeport.search(asked, NOW)
    assert refused.value.status == 400


# ── what everybody may see ────────────────────────────────────────────────────────────────────────────


def test_telephones_and_addresses_in_a_description_are_blotted_out() -> None:
    shown = str(georeport.request_row(STORED, ZONE)["description"])
    assert "裂缝 crack" in shown
    assert "138" not in shown
    assert "@" not in shown
    assert georeport.blotted("门牌 125 号，2026-11-22 10:30 起") == "门牌 125 号，2026-11-22 10:30 起"
    assert "4403" not in georeport.blotted("身份证 44030619900101123X")


@pytest.mark.parametrize(
    ("state", "status"), [("registered", "open"), ("handled", "open"), ("archived", "closed"), ("voided", "closed"),
                          (None, "closed")])  # fmt: skip
def test_open_until_nothing_more_is_done(state: str | None, status: str) -> None:
    assert georeport.status_of(state) == status


def test_instants_are_written_with_the_districts_offset() -> None:
    row = georeport.request_row(STORED, ZONE)
    assert row["requested_datetime"] == "2026-11-22T12:00:00+08:00"
