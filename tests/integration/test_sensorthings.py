"""SensorThings over HTTP on real parts: addresses, options, pages without gaps, expansion, refusals, who may."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.integration.running_centre import Centre, on_fresh_ground
from tests.integration.test_api import problem
from tests.servers.postgres import PostgresServer

ROOT = "/sensorthings/v1.1"
BEGIN = "2026-05-01T00:00:00Z"
READINGS = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value, quality)
    SELECT d.id, m.id, '2026-05-01Z'::timestamptz + n * interval '1 minute', '2026-05-01T12:00Z',
           round((%s * n)::numeric, 2), %s
    FROM devices d, metrics m, generate_series(%s::integer, %s::integer) n WHERE d.code = %s AND m.code = %s
"""
ROLLED = """
    INSERT INTO rollups (step_s, device_id, metric_id, bucket, readings, minimum, mean, maximum)
    SELECT DISTINCT 3600, device_id, metric_id, '2026-05-01Z'::timestamptz, 1, 0, 0, 0 FROM observations
"""


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        with psycopg.connect(made.url, autocommit=True) as connection:
            connection.execute("INSERT INTO metrics (code, unit, name_en) VALUES ('battery', '%', 'Battery')")
            connection.execute("UPDATE metrics SET unit = 'm', name_en = 'Water level' WHERE code = 'level'")
            connection.execute("UPDATE devices SET name = '东河 ''一'' 站' WHERE code = 'W1'")
            connection.execute("UPDATE devices SET longitude = 110 WHERE code = 'D2'")
            for said in (  # factor, quality, minutes from and to, device, metric
                (0.01, 0, 0, 249, "W1", "level"),
                (1, 2, 0, 9, "W1", "battery"),
                (1, 4, 400, 402, "W1", "level"),  # a clock ahead
                (1, 0, 0, 4, "D1", "smoke"),
            ):
                connection.execute(READINGS.encode(), said)
            connection.execute(ROLLED)
        yield made


def get(centre: Centre, path: str, **options: str) -> dict[str, Any]:
    answer = centre.client.get(f"{ROOT}{path}", params={f"${name}": said for name, said in options.items()})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def stream(centre: Centre, device: str, metric: str) -> int:
    found = get(
        centre, "/Datastreams", filter=f"properties/code eq '{device}' and properties/metric eq '{metric}'"
    )
    (one,) = found["value"]
    return int(one["@iot.id"])


def names(body: dict[str, Any]) -> list[str]:
    return [one["properties"]["code"] for one in body["value"]]


def test_the_root_leads_everywhere(centre: Centre) -> None:
    root = get(centre, "")
    assert (
        "http://www.opengis.net/spec/iot_sensing/1.1/req/datamodel" in root["serverSettings"]["conformance"]
    )
    assert len(root["value"]) == 8
    for one in root["value"]:
        listed = centre.client.get(one["url"], params={"$top": "2", "$count": "true"})
        assert listed.status_code == 200, listed.text
        first = listed.json()["value"][0]
        assert listed.json()["@iot.count"] >= len(listed.json()["value"]) > 0
        # Every link of an entity is there, and leads back to one that is its like.
        assert centre.client.get(first["@iot.selfLink"]).json()["@iot.id"] == first["@iot.id"]
        for name, link in first.items():
            if name.endswith("@iot.navigationLink"):
                assert centre.client.get(link).status_code == 200, link


def test_a_thing_and_what_hangs_on_it(centre: Centre) -> None:
    (thing,) = get(centre, "/Things", filter="properties/code eq 'W1'")["value"]
    assert (thing["name"], thing["properties"]["kind"]) == ("东河 '一' 站", "water")
    here = f"/Things({thing['@iot.id']})"
    assert get(centre, f"{here}/name") == {"name": thing["name"]}
    assert centre.client.get(f"{ROOT}{here}/name/$value").text == thing["name"]
    streams = get(centre, f"{here}/Datastreams")["value"]
    assert [one["properties"]["metric"] for one in streams] == ["level", "battery"]
    assert streams[0]["unitOfMeasurement"]["symbol"] == "m"
    refs = get(centre, f"{here}/Datastreams/$ref")["value"]
    assert [one["@iot.selfLink"] for one in refs] == [one["@iot.selfLink"] for one in streams]
    level = f"/Datastreams({streams[0]['@iot.id']})"
    assert get(centre, f"{level}/Thing")["@iot.id"] == thing["@iot.id"]
    assert get(centre, f"{level}/ObservedProperty")["name"] == "Water level"
    assert get(centre, f"{here}/Locations")["value"] == []  # nobody said where it stands
    assert get(centre, "/Locations(1)")["location"] == {"type": "Point", "coordinates": [114.0, 22.5]}


def test_an_observation_by_its_id(centre: Centre) -> None:
    level = stream(centre, "W1", "level")
    (found,) = get(centre, f"/Datastreams({level})/Observations", orderby="phenomenonTime desc", top="1")[
        "value"
    ]
    assert (found["phenomenonTime"], found["result"]) == (
        "2026-05-01T04:09:00Z",
        2.49,
    )  # not the clock ahead's
    assert found["resultQuality"] == ["good"]
    assert get(centre, f"/Observations('{found['@iot.id']}')") == found
    assert get(centre, f"/Observations('{found['@iot.id']}')/Datastream")["@iot.id"] == level
    (late,) = get(centre, f"/Datastreams({stream(centre, 'W1', 'battery')})/Observations", top="1")["value"]
    assert late["resultQuality"] == ["late"]
    problem(centre.client.get(f"{ROOT}/Observations('{level}-1')"), 404)


@pytest.mark.parametrize("order", ["", "phenomenonTime desc", "result", "result desc,phenomenonTime"])
def test_pages_neither_repeat_nor_skip(centre: Centre, order: str) -> None:
    level = stream(centre, "W1", "level")
    options = {
        "$top": "60",
        "$count": "true",
        "$filter": "result ge 0.5",
        **({"$orderby": order} if order else {}),
    }
    seen: list[float] = []
    where = f"{centre.base}{ROOT}/Datastreams({level})/Observations"
    answer = centre.client.get(where, params=options).json()
    while True:
        assert answer["@iot.count"] == 200
        seen += [one["result"] for one in answer["value"]]
        if "@iot.nextLink" not in answer:
            break
        assert urlsplit(answer["@iot.nextLink"]).path == urlsplit(where).path
        answer = centre.client.get(answer["@iot.nextLink"]).json()
    expected = [n / 100 for n in range(50, 250)]
    assert seen == (expected[::-1] if "desc" in order else expected)


FILTERS = (
    ("Things", "substringof('东河', name)", ["W1"]),
    ("Things", "startswith(properties/code, 'D1') and not (properties/code eq 'D1') and id lt 12", ["D10", "D11"]),
    ("Things", "Datastreams/ObservedProperty/name eq 'Battery'", ["W1"]),
    ("Things", "Datastreams/Observations/result gt 8 and properties/kind eq 'water'", ["W1"]),
    ("Things", "length(name) eq 2 and (id eq 3 or id eq 4) or tolower(properties/code) eq 'w1'", ["D3", "D4", "W1"]),
    ("Things", "st_within(Locations/location, geography'POLYGON((109 22,111 22,111 23,109 23,109 22))')", ["D2"]),
    ("Things", "name eq 'x'' OR 1=1 --'", []),
    ("Datastreams", "Thing/properties/code eq 'D1'", ["D1"]),
    ("Sensors", "id mul 2 eq 4", ["D2"]),
)  # fmt: skip


@pytest.mark.parametrize(("entities", "said", "codes"), FILTERS)
def test_filters(centre: Centre, entities: str, said: str, codes: list[str]) -> None:
    assert names(get(centre, f"/{entities}", filter=said)) == codes


def test_observations_are_filtered_by_time_and_stream(centre: Centre) -> None:
    level = stream(centre, "W1", "level")
    said = (
        f"Datastream/id eq {level} and phenomenonTime ge 2026-05-01T01:00:00Z"
        " and phenomenonTime lt 2026-05-01T09:05:00%2B08:00"
    )
    answer = centre.client.get(f"{ROOT}/Observations?$filter={said}&$select=result,phenomenonTime")
    assert [one["result"] for one in answer.json()["value"]] == [0.6, 0.61, 0.62, 0.63, 0.64]
    assert set(answer.json()["value"][0]) == {"result", "phenomenonTime"}
    hours = get(
        centre,
        f"/Datastreams({level})/Observations",
        filter="hour(resultTime) eq 4 and minute(resultTime) lt 2",
    )
    assert [one["result"] for one in hours["value"]] == [2.4, 2.41]


def test_expansion_within_expansion(centre: Centre) -> None:
    body = get(
        centre,
        "/Things",
        filter="properties/code eq 'W1' or properties/code eq 'D1'",
        select="name",
        expand="Datastreams($select=id;$expand=Observations($top=2;$count=true;$orderby=phenomenonTime desc),"
        "ObservedProperty($select=name)),Locations",
    )
    detector, gauge = body["value"]
    assert gauge["Locations"] == []
    assert detector["Locations"][0]["location"]["coordinates"] == [114.0, 22.5]
    level, battery = gauge["Datastreams"]
    assert [one["result"] for one in level["Observations"]] == [2.49, 2.48]
    assert (level["Observations@iot.count"], battery["Observations@iot.count"]) == (250, 10)
    assert level["ObservedProperty"] == {"name": "Water level"}
    more = centre.client.get(level["Observations@iot.nextLink"]).json()
    assert [one["result"] for one in more["value"]] == [2.47, 2.46]
    short = get(
        centre, f"/Datastreams({level['@iot.id']})", expand="Thing/Locations,Thing/HistoricalLocations"
    )
    assert short["Thing"]["Locations"] == short["Thing"]["HistoricalLocations"] == []


def test_a_data_array(centre: Centre) -> None:
    level = stream(centre, "W1", "level")
    body = get(
        centre,
        f"/Datastreams({level})/Observations",
        resultFormat="dataArray",
        top="2",
        select="phenomenonTime,result",
    )
    (table,) = body["value"]
    assert table["Datastream@iot.navigationLink"].endswith(f"/Datastreams({level})")
    assert (table["components"], table["dataArray@iot.count"]) == (["phenomenonTime", "result"], 2)
    assert table["dataArray"] == [["2026-05-01T00:00:00Z", 0.0], ["2026-05-01T00:01:00Z", 0.01]]
    assert "@iot.nextLink" in body
    both = get(
        centre, "/Observations", resultFormat="dataArray", filter="phenomenonTime lt 2026-05-01T00:02:00Z"
    )
    assert [table["dataArray@iot.count"] for table in both["value"]] == [2, 2, 2]


REFUSED = (
    ("/Things?$apply=x", 501, "$apply"), ("/Things?$filtre=x", 400, "$filtre"), ("/Things?top=2", 400, "top"),
    ("/Things?$top=-1", 400, "$top"), ("/Things?$skip=999999", 400, "$skip"), ("/Things?$top=1&$top=2", 400, "$top"),
    ("/Things?$filter=name eq 3", 400, "$filter"), ("/Things?$filter=nome eq 'x'", 400, "$filter"),
    ("/Things?$filter=name eq 'x", 400, "$filter"), ("/Things?$filter=fractionalseconds(now()) eq 1", 501, "$filter"),
    ("/Things?$expand=Sensors", 400, "$expand"), ("/Things?$orderby=properties", 400, "$orderby"),
    ("/Things?$select=secret", 400, "$select"), ("/Things?$skiptoken=e30", 400, "$skiptoken"),
    ("/Things?$resultFormat=CSV", 501, "$resultFormat"), ("/Nothings", 404, "path"),
    ("/Things(0)/Datastreams", 404, "path"),
    ("/Things(1)/Sensors", 404, "path"), ("/Things/Datastreams", 404, "path"), ("/Things('x')", 404, "Thing"),
    ("/Things(1)/name/length", 404, "path"), ("/Things(99999999999)", 404, "Thing"),
    ("/Things?$expand=Datastreams($expand=Observations($expand=Datastream($expand=Thing)))", 400, "$expand"),
)  # fmt: skip


@pytest.mark.parametrize(("path", "status", "field"), REFUSED)
def test_what_is_refused_names_its_option(centre: Centre, path: str, status: int, field: str) -> None:
    said = problem(centre.client.get(ROOT + path), status)
    assert said["errors"][0]["field"] == field
    assert said["errors"][0]["remedy"]


def test_strangers_see_nothing_and_nobody_writes(centre: Centre) -> None:
    assert centre.stranger.get(f"{ROOT}/Things").status_code == 401
    assert centre.client.post(f"{ROOT}/Things", json={}).status_code == 405
