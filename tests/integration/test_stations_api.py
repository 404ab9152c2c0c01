"""Stations over HTTP: in the order of danger, with hydrograph, forecast, marks, comparison, past events and model."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import psycopg
import pytest

from city.stations import ForecastPoint, StationForecast
from city.storage import forecasts
from tests.integration.running_centre import Centre, lay_ground, running

GROUND = """
INSERT INTO devices (code, kind, cell_id, name) SELECT 'W2', 'water', id, '青溪二号' FROM areas WHERE code = 'C2';
INSERT INTO devices (code, kind, cell_id) SELECT 'W3', 'water', id FROM areas WHERE code = 'C2';
INSERT INTO stations (device_id, station_kind, zero_m, warning_level_m, guaranteed_level_m)
    SELECT id, 'river', 1.0, 6, 7 FROM devices WHERE code = 'W2';
INSERT INTO stations (device_id, station_kind) SELECT id, 'river' FROM devices WHERE code = 'W3';
INSERT INTO station_upstreams SELECT w.id, u.id, 40 FROM devices w, devices u WHERE w.code = 'W1' AND u.code = 'W2';
INSERT INTO metrics (code) VALUES ('rain') ON CONFLICT DO NOTHING;
INSERT INTO device_kinds (code, name, main_metric) VALUES ('rain', '雨量', 'rain') ON CONFLICT DO NOTHING;
INSERT INTO devices (code, kind) VALUES ('R1', 'rain');
INSERT INTO station_series SELECT w.id, r.id, 'rain', 'rain' FROM devices w, devices r
    WHERE w.code = 'W1' AND r.code = 'R1';
INSERT INTO presence SELECT id, now() + interval '1 hour' FROM devices WHERE kind IN ('water', 'rain');
"""
READ = """
    INSERT INTO observations (device_id, metric_id, quality, observed_at, received_at, value)
    SELECT d.id, m.id, %s, %s, %s, %s FROM devices d, metrics m WHERE d.code = %s AND m.code = %s
"""


@cache
def now() -> datetime:
    """The minute in which the first test here began; the suite may have run for half an hour before it."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture(scope="module")
def centre(postgres_server: Any, postgres_template: str) -> Iterator[Centre]:
    name = postgres_server.create_database(template=postgres_template)
    url = postgres_server.url(name)
    lay_ground(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(GROUND)
        connection.cursor().executemany(READ, readings())
        store_forecast(connection)
        connection.execute("SELECT pg_advisory_lock(72350040)")  # the forecasts are another centre's
        with running(url) as made:
            yield made
    postgres_server.drop_database(name)


def readings() -> list[tuple[object, ...]]:
    """W1 rises from 2.0 to 2.5 in the last hour, after a flood of 12 hours ten days ago; W2 stands 3 m lower."""
    rows: list[tuple[object, ...]] = []
    for n in range(0, 30 * 60, 10):
        at = now() - timedelta(minutes=n)
        level = 2.0 + max(0, 60 - n) / 120 + (n % 30) / 1000
        rows += [(0, at, at, level, "W1", "level"), (0, at, at, level + 1, "W2", "level")]
        rows.append((0, at, at, 0.5, "R1", "rain"))
    for n in range(0, 24 * 60, 10):
        at = now() - timedelta(days=10) + timedelta(minutes=n)
        rows.append((0, at, at, 2.5 + min(n, 1440 - n) / 720, "W1", "level"))
    for n in (305, 315):
        at = now() - timedelta(minutes=n)
        rows += [(0, at, at, -990.0, "W1", "level"), (0, at, at, 0.0, "W2", "level")]
    rows.append((32, now() - timedelta(minutes=1), now(), 9.0, "W1", "level"))  # a spike that ingest marked
    return rows


def store_forecast(connection: psycopg.Connection) -> None:
    row = connection.execute("SELECT id FROM devices WHERE code = 'W1'").fetchone()
    assert row is not None
    model = forecasts.store_model(
        connection,
        row[0],
        kind="regression",
        trained_at=now() - timedelta(hours=5),
        first_at=now() - timedelta(days=100),
        trained_until=now() - timedelta(hours=5),
        rows=14_400,
        took_s=2.0,
        scores=[{"horizon_s": 3600, "skill": 0.8}],
        model={},
    )
    points = (
        ForecastPoint(horizon_s=3600, q10=2.5, q50=2.75, q90=3.0, alarm_m=2.9),
        ForecastPoint(horizon_s=10_800, q10=2.75, q50=3.25, q90=4.5, alarm_m=4.0),
    )
    made = StationForecast(
        station="W1",
        station_id=row[0],
        issued_at=now(),
        observed_at=now(),
        level_m=2.5,
        points=points,
        basis="回归",
        basis_en="regression",
        degraded=("R1/rain",),
        refused=None,
        refused_en=None,
        model_id=model,
        model_kind=None,
        model_version=None,
    )
    forecasts.store(connection, [made])
    day = now().date()
    connection.execute("INSERT INTO forecast_scores VALUES (%s, 3600, %s, 10, 0.1, 0.4, 8)", (row[0], day))


def stations(centre: Centre, sort: str = "") -> dict[str, Any]:
    """Once the screens have looked at the readings and the forecast."""
    while True:
        asked = {"sort": sort} if sort else {}
        items = centre.stranger.get("/api/stations", params=asked).json()["items"]
        found = {item["code"]: item for item in items}
        if found.get("W1", {}).get("forecast_m_3h") is not None:
            return found


def hydrograph(centre: Centre, code: str = "W1", **asked: object) -> dict[str, Any]:
    answer = centre.stranger.get(f"/api/stations/{code}/hydrograph", params=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_list_says_how_far_how_fast_and_how_soon(centre: Centre) -> None:
    found = stations(centre)["W1"]
    assert found["level_m"] == 2.5, "not the spike"
    assert (found["station_kind_name"], found["station_kind_name_en"]) == ("河道", "River")
    assert found["margin_m"] == 0.5
    assert found["margins"] == {
        "warning": 0.5,
        "guaranteed": 1.5,
        "highest": 2.5,
        "bank": None,
        "design": None,
    }
    assert found["rise_m_h"] == 0.5
    assert (found["forecast_m_3h"], found["time_to_warning_s"]) == (3.25, 7200)
    assert found["time_to_level"]["warning"]["seconds"] == 7200
    assert at(found["time_to_level"]["warning"]["at"]) == now() + timedelta(hours=2)
    assert at(found["time_to_level"]["warning"]["earliest_at"]) == now() + timedelta(hours=1)
    assert found["time_to_level"]["guaranteed"]["seconds"] is None, "only the band reaches it"
    assert (found["forecast_peak_m"], at(found["forecast_peak_at"])) == (3.25, now() + timedelta(hours=3))
    assert found["skill"]["1h"] == {
        "judged": 10,
        "rmse_m": 0.1,
        "rmse_persistence_m": 0.2,
        "skill": 0.75,
        "coverage": 0.8,
    }
    assert found["model"] == "regression"


@pytest.mark.parametrize("sort", ["margin", "time_to_level"])
def test_in_the_order_of_danger(centre: Centre, sort: str) -> None:
    assert list(stations(centre, sort)) == ["W1", "W2", "W3"]
    assert centre.stranger.get("/api/stations", params={"sort": "colour"}).status_code == 422


def test_a_hydrograph_with_everything_around_it(centre: Centre) -> None:
    stations(centre)
    drawn = hydrograph(centre)
    observed = [level for _, level in drawn["observed"]]
    assert (min(observed) >= 2.0, max(observed), observed[-1]) == (True, 2.5, 2.5)
    assert drawn["levels"]["warning_m"] == 3
    assert sum(rain for _, rain in drawn["rain"]) == pytest.approx(144 * 0.5, abs=1)
    (above,) = drawn["upstream"]
    assert (above["code"], above["name"], above["travel_min"]) == ("W2", "青溪二号", 40)
    assert above["observed"][-1][1] == 3.5
    assert [point[1:] for point in drawn["forecast"]] == [[2.5, 2.75, 3.0], [2.75, 3.25, 4.5]]
    assert at(drawn["forecast"][0][0]) == now() + timedelta(hours=1)
    info = drawn["forecast_info"]
    assert (info["refused"], info["basis_en"], info["degraded"]) == (None, "regression", ["R1/rain"])
    assert info["model"] == {"kind": "regression", "version": 1}
    assert info["alarm_m"] == [2.9, 4.0]
    assert info["skill_30d"]["1h"]["coverage"] == 0.8
    assert at(drawn["time_to_level"]["warning"]["at"]) == now() + timedelta(hours=2)


def test_what_is_odd_is_marked_and_not_drawn(centre: Centre) -> None:
    drawn = hydrograph(centre)
    marked = {mark["kind"]: mark for mark in drawn["marks"]}
    assert set(marked) - {"gap"} == {"sentinel", "spike"}  # a gap to now, when this file's turn came late
    assert "-990" in marked["sentinel"]["text"]
    assert at(marked["spike"]["from"]) == now() - timedelta(minutes=1)
    below_zero = [mark for mark in hydrograph(centre, "W2")["marks"] if mark["kind"] == "sentinel"]
    assert len(below_zero) == 2, "0 is no level where the gauge begins at 1 m"


def test_a_window_of_the_past_has_no_forecast(centre: Centre) -> None:
    start, end = now() - timedelta(days=10), now() - timedelta(days=9)
    drawn = hydrograph(centre, **{"from": start.isoformat(), "to": end.isoformat()})
    assert max(level for _, level in drawn["observed"]) == pytest.approx(3.5)
    assert (drawn["forecast"], drawn["time_to_level"]) == ([], {})
    assert drawn["forecast_info"]["refused_en"]
    assert at(drawn["from"]) == start


def test_a_past_event_is_laid_over_the_present(centre: Centre) -> None:
    crest = now() - timedelta(days=9, hours=12)
    drawn = hydrograph(centre, hours=6, compare=crest.isoformat())
    compared = drawn["compare"]
    shift = timedelta(seconds=compared["shift_s"])
    assert crest + shift == pytest.approx(at(drawn["to"]), abs=timedelta(seconds=1))
    highest = max(compared["observed"], key=lambda point: point[1])
    assert highest[1] == pytest.approx(3.5)
    assert abs(at(highest[0]) - at(drawn["to"])) < timedelta(minutes=15)
    assert at(compared["observed"][-1][0]) > at(drawn["to"]) + timedelta(hours=10), "and what came next"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": (now() + timedelta(days=1)).isoformat()}, "from"),
        ({"from": (now() - timedelta(days=60)).isoformat()}, "from"),
        ({"from": "2026-11-20T08:00:00"}, "from"),
        ({"compare": "yesterday"}, "compare"),
        ({"hours": 745}, "hours"),
    ],
)
def test_what_cannot_be_drawn_is_said(centre: Centre, asked: dict[str, object], field: str) -> None:
    answer = centre.stranger.get("/api/stations/W1/hydrograph", params=asked)  # type: ignore[arg-type]  # as given
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["detail_zh"]


def test_past_events(centre: Centre) -> None:
    found = centre.client.get("/api/stations/W1/events").json()
    (event,) = found["items"]
    assert found["level_m"] == 3
    assert at(event["onset"]) == now() - timedelta(days=10) + timedelta(hours=6)
    assert event["peak_m"] == pytest.approx(3.5)
    assert event["rise_m"] == pytest.approx(0.25)
    assert centre.client.get("/api/stations/W1/events", params={"level": 4}).json()["items"] == []
    assert centre.client.get("/api/stations/W3/events").status_code == 422
    assert centre.client.get("/api/stations/D1/events").status_code == 404
    asked = {"from": now().isoformat(), "to": (now() - timedelta(days=1)).isoformat()}
    assert centre.client.get("/api/stations/W1/events", params=asked).status_code == 422
    assert centre.stranger.get("/api/stations/W1/events").status_code == 401


def test_the_model_with_its_scores(centre: Centre) -> None:
    found = centre.client.get("/api/stations/W1/model").json()
    assert (found["kind"], found["version"], found["rows"]) == ("regression", 1, 14_400)
    assert found["scores"] == [{"horizon_s": 3600, "skill": 0.8}]
    assert found["verification"]["1h"]["skill"] == 0.75
    assert "model" not in found, "a quarter of a megabyte of weights"
    untrained = centre.client.get("/api/stations/W3/model").json()
    assert untrained["kind"] is None
    assert untrained["reason_en"]
    assert centre.client.get("/api/stations/nobody/model").status_code == 404


def test_every_gauge_is_placed_and_a_silent_one_has_no_sums(centre: Centre) -> None:
    items = {one["code"]: one for one in centre.client.get("/api/flood/gauges").json()["items"]}
    assert set(items) == {"W1", "W2", "W3", "R1"}, "detectors are no gauges"
    rain = items["R1"]
    assert (rain["is_rain"], rain["is_station"]) == (True, False)
    assert rain["mm_1h"] == pytest.approx(3, abs=0.5)
    assert rain["mm_3h"] == pytest.approx(9, abs=0.5)
    assert rain["mm_24h"] == pytest.approx(72, abs=1)
    water = items["W1"]
    assert (water["is_station"], water["cell"], water["mm_24h"], water["lon"]) == (True, "C3", None, None)
    assert centre.stranger.get("/api/flood/gauges").status_code == 401
