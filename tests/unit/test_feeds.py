"""Answers of public gauges, written after their documentation: decoded, refused, and cut to what is new."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.observations import Rejection
from city.settings import SettingsError
from ingest.decoders import environment_agency, nwps
from ingest.decoders.said import Announced, Arrival, Rejected, Report, Said
from ingest.sources.feed_answers import PIECE, fresh
from ingest.sources.feed_plan import Ask, read_feeds
from ingest.sources.feeds import _asked_to_wait

ARRIVAL = Arrival(received_us=1_780_000_000_000_000, zone=ZoneInfo("Europe/London"))
ROOT = "http://environment.data.gov.uk/flood-monitoring"


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000_000)


def decoded(decoder: Any, topic: str, body: object) -> list[Said]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = decoder.decode(topic, payload, ARRIVAL)
    return [said] if isinstance(said, Rejected) else list(said)


def reading(measure: object, at: object, value: object) -> dict[str, object]:
    return {"@id": f"{ROOT}/data/readings/x", "dateTime": at, "measure": measure, "value": value}


LEVEL = f"{ROOT}/id/measures/3400TH-level-stage-i-15_min-mASD"
FLOW = f"{ROOT}/id/measures/3400TH-flow--i-15_min-m3_s"


# ── Environment Agency ───────────────────────────────────────────────────────────────────────────────


def ea_readings(*items: dict[str, object]) -> list[Said]:
    body = {"@context": f"{ROOT}/meta/context.jsonld", "meta": {"limit": 400}, "items": list(items)}
    return decoded(environment_agency.DECODER, "environment_agency/3400TH/readings", body)


def test_readings_of_one_instant_are_one_report_oldest_first() -> None:
    said = ea_readings(
        reading(LEVEL, "2026-05-01T10:15:00Z", 4.699),
        reading(LEVEL, "2026-05-01T10:00:00Z", 4.7),
        reading(FLOW, "2026-05-01T10:00:00Z", 138),
    )
    assert said == [
        Report(
            device="3400TH", at_us=us("2026-05-01T10:00:00Z"), values={"level.stage": 4.7, "flow": 138.0},
            units={"level.stage": "m", "flow": "m³/s"},
        ),
        Report(
            device="3400TH", at_us=us("2026-05-01T10:15:00Z"), values={"level.stage": 4.699},
            units={"level.stage": "m"},
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "key", "unit"),
    [
        (
            {"@id": f"{ROOT}/id/measures/023839FW-level-tidal_level-i-15_min-mAOD"},
            "level.tidal_level.mAOD",
            "m",
        ),
        (
            {"notation": "E7050-rainfall-tipping_bucket_raingauge-t-15_min-mm"},
            "rainfall.tipping_bucket_raingauge",
            "mm",
        ),
        ("1491TH-level-downstage-i-15_min-mASD", "level.downstage", "m"),
        ("A-flow-6-level-stage-i-15_min-mASD", "flow.6", "m"),
        ("X-temperature-dry_bulb-i-15_min-deg_C", "temperature.dry_bulb", "°C"),
        ("X-level-stage-i-15_min-furlong", "level.stage", "furlong"),  # refused where it does not convert
    ],
)
def test_measures_name_quantity_datum_and_unit(measure: object, key: str, unit: str) -> None:
    (said,) = ea_readings(reading(measure, "2026-05-01T10:00:00Z", -0.2))
    assert isinstance(said, Report)
    assert (said.values, said.units) == ({key: -0.2}, {key: unit})


@pytest.mark.parametrize(
    "item",
    [
        reading(LEVEL, "2026-05-01T10:00:00Z", [1.0, 2.0]),  # seen there: nobody says which
        reading(LEVEL, "2026-05-01T10:00:00Z", None),
        reading(LEVEL, "2026-05-01T10:00:00Z", "4.7"),
        reading(LEVEL, "2026-05-01T10:00:00Z", -999),
        reading(LEVEL, "2026-05-01T10:00:00Z", True),
        reading(
            f"{ROOT}/id/measures/L0410-level-stage-i-15_min----", "2026-05-01T10:00:00Z", 1
        ),  # unit unknown
        reading("nothing", "2026-05-01T10:00:00Z", 1),
        reading(None, "2026-05-01T10:00:00Z", 1),
        {},
    ],
)
def test_what_is_no_reading_is_left_out(item: dict[str, object]) -> None:
    assert ea_readings(item) == []


def test_a_reading_without_a_time_is_refused_and_the_others_stay() -> None:
    said = ea_readings(
        reading(LEVEL, "yesterday", 1),
        reading(LEVEL, "2026-05-01T10:00:00", 1),
        reading(LEVEL, "2026-05-01T10:00:00Z", 2),
    )
    assert isinstance(said[0], Report)
    assert isinstance(said[1], Rejected)
    assert (said[1].reason, len(said)) == (Rejection.BAD_TIME, 2)


@pytest.mark.parametrize(
    "scale", [f"{ROOT}/id/stations/3400TH/stageScale", {"scaleMax": 6, "typicalRangeHigh": 4.8}, None, []]
)
@pytest.mark.parametrize("many", [True, False])
def test_a_station_tells_who_it_is_whatever_forms_its_links_have(scale: object, many: bool) -> None:
    measures: list[dict[str, object]] = [
        {"@id": LEVEL, "latestReading": reading(LEVEL, "2026-05-01T10:00:00Z", 4.7), "parameter": "level"},
        {
            "@id": FLOW,
            "latestReading": f"{ROOT}/data/readings/3400TH-flow--i-15_min-m3_s/2026-05-01T10-00-00Z",
        },
    ]
    station = {
        "label": ["Kingston", "Kingston upon Thames"],
        "stageScale": scale,
        "stationReference": "3400TH",
    }
    items = {**station, "measures": measures if many else measures[0]}
    said = decoded(environment_agency.DECODER, "environment_agency/3400TH/station", {"items": items})
    keys = ("level.stage", "flow") if many else ("level.stage",)
    assert said[0] == Announced(device="3400TH", name="Kingston", vendor="Environment Agency", keys=keys)
    assert [one.values for one in said[1:] if isinstance(one, Report)] == [{"level.stage": 4.7}]


# ── NWPS ─────────────────────────────────────────────────────────────────────────────────────────────


def series(*points: dict[str, object], **more: object) -> dict[str, object]:
    return {
        "pedts": "HGIRG", "wfo": "PBZ", "timeZone": "EST5EDT", "issuedTime": "2026-05-01T10:05:00Z",
        "primaryName": "Stage",
        "primaryUnits": "ft", "secondaryName": "Flow", "secondaryUnits": "kcfs", "data": list(points), **more,
    }  # fmt: skip


def point(at: object, primary: object, secondary: object) -> dict[str, object]:
    return {
        "validTime": at,
        "generatedTime": "2026-05-01T10:05:00Z",
        "primary": primary,
        "secondary": secondary,
    }


@pytest.mark.parametrize("whole", [True, False])
def test_stage_and_flow(whole: bool) -> None:
    observed = series(point("2026-05-01T10:00:00Z", 16.75, -999), point("2026-05-01T09:45:00Z", 16.7, 12.5))
    body = {"observed": observed, "forecast": None} if whole else observed
    said = decoded(nwps.DECODER, "nwps/PTTP1/stageflow", body)
    assert said == [
        Report(
            device="PTTP1", at_us=us("2026-05-01T09:45:00Z"), values={"stage": 16.7, "flow": 12.5},
            units={"stage": "ft", "flow": "kcfs"},
        ),
        Report(device="PTTP1", at_us=us("2026-05-01T10:00:00Z"), values={"stage": 16.75}, units={"stage": "ft"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"observed": series(point("2026-05-01T10:00:00Z", -999, -9999)), "forecast": {"data": None}},
        {"observed": None, "forecast": series(point("2026-05-02T10:00:00Z", 20, 30))},
        {"observed": series(point("2026-05-01T10:00:00Z", None, None), data=None)},
        {"observed": series(point("2026-05-01T10:00:00Z", 1, 2), primaryName=None, secondaryName="")},
        {},
    ],
)
def test_sentinels_nulls_and_forecasts_are_nothing_measured(body: dict[str, object]) -> None:
    assert decoded(nwps.DECODER, "nwps/PTTP1/stageflow", body) == []


def test_year_one_is_never() -> None:
    (said,) = decoded(nwps.DECODER, "nwps/X/stageflow", series(point("0001-01-01T00:00:00Z", 3, 4)))
    assert isinstance(said, Rejected)
    assert said.reason == Rejection.BAD_TIME


@pytest.mark.parametrize("forecast", [None, {"primary": -999, "validTime": "0001-01-01T00:00:00Z"}])
def test_a_gauge_tells_its_name_and_what_it_shows(forecast: object) -> None:
    observed = {
        "primary": 16.75,
        "primaryUnit": "ft",
        "secondary": -999,
        "secondaryUnit": "kcfs",
        "validTime": "2026-05-01T10:00:00Z",
    }
    body = {
        "lid": "PTTP1",
        "name": "Ohio River at Pittsburgh",
        "status": {"observed": observed, "forecast": forecast},
        "flood": {},
    }
    said = decoded(nwps.DECODER, "nwps/PTTP1/gauge", body)
    assert said == [
        Announced(device="PTTP1", name="Ohio River at Pittsburgh", vendor="NOAA NWPS"),
        Report(
            device="PTTP1", at_us=us("2026-05-01T10:00:00Z"), values={"stage": 16.75}, units={"stage": "ft"}
        ),
    ]
    never = {**observed, "validTime": "0001-01-01T00:00:00Z"}
    assert len(decoded(nwps.DECODER, "nwps/PTTP1/gauge", {**body, "status": {"observed": never}})) == 1


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────

REFUSED = (
    (b"", Rejection.NOT_JSON), (b"<html>", Rejection.NOT_JSON), (b"\xff", Rejection.NOT_JSON),
    (b"{", Rejection.NOT_JSON),
    (b"x" * (256 * 1024 + 1), Rejection.OVERSIZE),
)  # fmt: skip


@pytest.mark.parametrize(("payload", "reason"), REFUSED)
@pytest.mark.parametrize(
    "topic",
    ["environment_agency/X/readings", "environment_agency/X/station", "nwps/X/gauge", "nwps/X/stageflow"],
)
def test_what_is_no_answer_is_refused(topic: str, payload: bytes, reason: Rejection) -> None:
    decoder = nwps.DECODER if topic.startswith("nwps") else environment_agency.DECODER
    (said,) = decoded(decoder, topic, payload)
    assert isinstance(said, Rejected)
    assert said.reason == reason


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("environment_agency/X/readings", {"results": []}, Rejection.WRONG_SHAPE),
        ("environment_agency/X/readings", {"items": [1, 2]}, Rejection.WRONG_SHAPE),
        ("environment_agency/X/readings", [], Rejection.NOT_JSON),
        ("environment_agency/X", {"items": []}, Rejection.BAD_TOPIC),
        ("nwps/X/stageflow", {"observed": {"data": 3}}, Rejection.WRONG_SHAPE),
        ("nwps/X/gauge", {"status": []}, Rejection.WRONG_SHAPE),
        ("nwps/X/ratings", {}, Rejection.BAD_TOPIC),
    ],
)
def test_other_shapes_are_named(topic: str, body: object, reason: Rejection) -> None:
    decoder = nwps.DECODER if topic.startswith("nwps") else environment_agency.DECODER
    (said,) = decoded(decoder, topic, body)
    assert isinstance(said, Rejected)
    assert said.reason == reason


LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.just("2026-05-01T10:00:00Z"),
)
NAMES = st.sampled_from(["items", "measure", "value", "dateTime", "@id", "measures", "label", "latestReading",
                         "observed", "data", "primary",
                         "primaryName", "validTime", "status", "name"])  # fmt: skip
DOCUMENTS = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


@given(
    DOCUMENTS,
    st.sampled_from(
        ["environment_agency/X/readings", "environment_agency/X/station", "nwps/X/gauge", "nwps/X/stageflow"]
    ),
)
def test_no_document_makes_a_decoder_fail(body: object, topic: str) -> None:
    decoder = nwps.DECODER if topic.startswith("nwps") else environment_agency.DECODER
    for said in decoded(decoder, topic, body):
        assert isinstance(said, Report | Announced | Rejected)
        if isinstance(said, Report):
            assert all(isinstance(value, float) and value == value for value in said.values.values())  # noqa: PLR0124 - NaN


# ── what is new ──────────────────────────────────────────────────────────────────────────────────────


def test_only_what_is_new_goes_on_in_pieces() -> None:
    items = [reading(LEVEL, "2026-05-01T10:00:00Z", n) for n in range(PIECE + 3)]
    pieces, known = fresh("environment_agency/X/readings", json.dumps({"items": items}).encode(), frozenset())
    assert [len(json.loads(piece)["items"]) for piece in pieces] == [PIECE, 3]
    again = [reading(LEVEL, "2026-05-01T10:15:00Z", 7), *items]
    pieces, _ = fresh(
        "environment_agency/X/readings", json.dumps({"meta": 1, "items": again}).encode(), known
    )
    assert [json.loads(piece) for piece in pieces] == [{"items": again[:1]}]


def test_a_series_keeps_what_stands_around_its_points() -> None:
    body = {
        "observed": series(point("2026-05-01T10:00:00Z", 1, 2)),
        "forecast": series(point("2026-05-02T10:00:00Z", 3, 4)),
    }
    pieces, known = fresh("nwps/X/stageflow", json.dumps(body).encode(), frozenset())
    assert json.loads(pieces[0]) == body["observed"]
    assert fresh("nwps/X/stageflow", json.dumps(body).encode(), known) == ([], known)


@pytest.mark.parametrize("body", [b"<html>", b'{"items": 3}', b"{}", b"[1]"])
def test_what_is_not_as_expected_goes_on_once_and_whole(body: bytes) -> None:
    pieces, known = fresh("environment_agency/X/readings", body, frozenset())
    assert pieces == [body]
    assert fresh("environment_agency/X/readings", body, known) == ([], known)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [("120", 120, 120), ("", 0, 0), ("soon", 0, 0), ("-5", 0, 0), ("9" * 30, 21_600, 21_600),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("Wed, 21 Oct 2199 07:28:00 GMT", 21_600, 21_600)],
)  # fmt: skip
def test_a_server_may_ask_for_a_pause_and_not_for_ever(said: str, least: float, most: float) -> None:
    assert least <= _asked_to_wait(said) <= most


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────

FEEDS = """
[[feed]]
family = "environment_agency"
stations = ["3400TH"]
every_minutes = 5

[[feed]]
family = "nwps"
url = "http://127.0.0.1:8080/nwps/"
stations = ["PTTP1"]
"""


def test_a_file_says_what_is_asked_for() -> None:
    assert read_feeds(FEEDS) == [
        Ask(
            topic="environment_agency/3400TH/station",
            url=f"https{ROOT[4:]}/id/stations/3400TH",
            every_s=86_400,
        ),
        Ask(
            topic="environment_agency/3400TH/readings",
            url=f"https{ROOT[4:]}/id/stations/3400TH/readings?_sorted&_limit=400",
            every_s=300,
        ),
        Ask(topic="nwps/PTTP1/gauge", url="http://127.0.0.1:8080/nwps/gauges/PTTP1", every_s=900),
        Ask(
            topic="nwps/PTTP1/stageflow",
            url="http://127.0.0.1:8080/nwps/gauges/PTTP1/stageflow/observed",
            every_s=21_600,
        ),
    ]
    assert read_feeds("") == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[feed]", "not TOML"), ("feeds = 3", "[[feed]]"), ("feed = 3", "[[feed]]"),
        ('[[feed]]\nfamily = "usgs"', "family = 'usgs'"), ('[[feed]]\nfamily = "nwps"', "stations"),
        ('[[feed]]\nfamily = "nwps"\nstations = ["../x"]', "'../x'"),
        ('[[feed]]\nfamily = "nwps"\nstations = [".."]', "'..'"),
        ('[[feed]]\nfamily = "nwps"\nstations = ["A"]\nevery_minutes = 0', "every_minutes = 0"),
        ('[[feed]]\nfamily = "nwps"\nstations = ["A"]\nurl = "file:///etc"', "url ="),
        ('[[feed]]\nfamily = "nwps"\nstations = ["A"]\ncolour = 1', "unknown key colour"),
        ('[[feed]]\nfamily = "nwps"\nstations = ["A", "A"]', "twice"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_key(text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=r"feeds\.toml") as caught:
        read_feeds(text)
    assert named in str(caught.value)
