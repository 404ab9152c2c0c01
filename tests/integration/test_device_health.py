"""Devices online, late, silent and blind; gateways, batteries, availability: on real PostgreSQL, over HTTP."""

import asyncio
import csv
import io
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from city.storage import alone, changes, screen
from city.storage.alone import Right
from command_centre import device_health_loop
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """Its own loop looks as well; what a test asks for it does itself, at the time of its choice."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        made.execute(
            "INSERT INTO metrics (code, unit) VALUES ('temperature', '°C'), ('battery', '%%'), ('rssi', 'dBm')"
            " ON CONFLICT DO NOTHING"
        )
        made.execute(
            "INSERT INTO device_kinds (code, name, expected_interval_s) VALUES ('gateway', '网关', 60)"
            " ON CONFLICT DO NOTHING"
        )
        for category in ("device", "device.fault.sensor", "device.battery"):
            made.execute(
                "INSERT INTO categories (code, name, class, limit_minutes) VALUES (%s, %s, 'C', 60)",
                category,
                category,
            )
        yield made


@pytest.fixture
def today(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0)


def in_database(centre: Centre, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with await changes.open_connection(centre.url, "test", autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(run())


def look(centre: Centre, now: datetime) -> None:
    in_database(centre, lambda connection: device_health_loop.look(connection, now))


def get(centre: Centre, path: str) -> Any:
    answer = centre.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def heard(centre: Centre, code: str, ago_s: float, *, first_s: float = 10 * 86400) -> None:
    centre.execute(
        "UPDATE devices SET first_heard_at = now() - make_interval(secs => %s) WHERE code = %s", first_s, code
    )
    centre.execute(
        "INSERT INTO presence (device_id, last_heard_at) SELECT id, now() - make_interval(secs => %s) FROM devices"
        " WHERE code = %s ON CONFLICT (device_id) DO UPDATE SET last_heard_at = excluded.last_heard_at, link = NULL",
        ago_s,
        code,
    )


def read(centre: Centre, code: str, metric: str, ages_s: Sequence[float], value: float = 20.0) -> None:
    centre.execute(
        """
        INSERT INTO observations (device_id, metric_id, observed_at, received_at, value)
        SELECT d.id, m.id, now() - make_interval(secs => age), now() - make_interval(secs => age), %s
        FROM devices d, metrics m, unnest(%s::float8[]) AS age WHERE d.code = %s AND m.code = %s
        """,
        value,
        list(ages_s),
        code,
        metric,
    )


def state_of(centre: Centre, code: str) -> Any:
    return get(centre, f"/api/devices/{code}/health")


def test_each_state_is_counted_as_the_wall_counts_it(centre: Centre) -> None:
    heard(centre, "D1", 10)
    heard(centre, "D2", 500)  # of 300 s
    heard(centre, "D3", 2000)
    heard(centre, "D4", 10)
    centre.execute(
        "UPDATE presence SET link = 'offline' WHERE device_id = (SELECT id FROM devices WHERE code = 'D4')"
    )
    heard(centre, "D5", 10)
    centre.execute(
        "INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, evidence)"
        " SELECT 'device-silent', 1, id, 'device.silent', 'blue', now(), '{}' FROM devices WHERE code = 'D5'"
    )
    centre.execute("UPDATE devices SET service_state = 'out_of_service' WHERE code = 'D6'")
    expected = {
        "D1": "online",
        "D2": "late",
        "D3": "silent",
        "D4": "silent",
        "D5": "silent",
        "D6": "out",
        "D7": "never",
    }
    assert {code: state_of(centre, code)["state"] for code in expected} == expected
    listed = get(centre, "/api/device-health?limit=1000")
    states = {one["code"]: one["state"] for one in listed["items"]}
    assert {code: states[code] for code in expected} == expected
    for state in ("online", "late", "silent", "never", "out", "blind"):
        only = get(centre, f"/api/device-health?state={state}&limit=1000")
        assert [one["code"] for one in only["items"]] == sorted(c for c, s in states.items() if s == state)
        assert listed["counts"][state] == len(only["items"])
    wall = in_database(centre, screen.presence)
    assert (listed["online"], listed["total"]) == (
        sum(r["online"] for r in wall),
        sum(r["total"] for r in wall),
    )
    assert listed["online"] == 2
    assert get(centre, "/api/devices/D3")["online"] is False


def test_pages_and_filters(centre: Centre) -> None:
    centre.execute(
        "UPDATE devices SET model = 'M1', vendor = 'V1', maintainer_unit = 'U2' WHERE code IN ('D1', 'D3', 'D9')"
    )
    found, cursor = [], ""
    while True:
        page = get(centre, f"/api/device-health?model=M1&vendor=V1&maintainer=U2&kind=smoke&limit=1{cursor}")
        found += [one["code"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == ["D1", "D3", "D9"]
    assert page["total"] == 3
    assert [one["code"] for one in get(centre, "/api/device-health?cell=C3")["items"]] == ["W1"]
    assert centre.client.get("/api/device-health?state=odd").status_code == 422
    assert centre.client.get("/api/device-health?cursor=nonsense").status_code == 422
    assert centre.client.get("/api/devices/nobody/health").status_code == 404
    assert centre.stranger.get("/api/device-health").status_code == 401


def test_our_own_outage_is_nobodys_silence(centre: Centre) -> None:
    heard(centre, "D10", 3600)
    assert state_of(centre, "D10")["state"] == "silent"
    # Listening until its last word, deaf for an hour, listening again for two minutes.
    centre.execute(
        "INSERT INTO ingest_sessions (client_id, listening_from, alive_at, listening) VALUES"
        " ('a', now() - interval '3 days', now() - interval '1 hour', false),"
        " ('a', now() - interval '2 minutes', now(), true), ('b', now() - interval '1 minute', now(), true)"
    )
    try:
        assert state_of(centre, "D10")["state"] == "online"
        counted = get(centre, "/api/device-health?limit=1")["online"]
        assert counted == sum(row["online"] for row in in_database(centre, screen.presence))
        heard(centre, "D10", 3600 + 400)  # before our outage it owed a word already: 400 s and 120 s
        assert state_of(centre, "D10")["state"] == "late"
        heard(centre, "D10", 3600 + 900)
        assert state_of(centre, "D10")["state"] == "silent"
    finally:
        centre.execute("DELETE FROM ingest_sessions")


def test_a_metric_that_stopped_is_blind_and_its_alarm_comes_and_goes(centre: Centre) -> None:
    now = datetime.now(UTC)
    heard(centre, "D11", 5)
    centre.execute("UPDATE devices SET maintainer_unit = 'Crew 1' WHERE code = 'D11'")
    read(centre, "D11", "smoke", [60.0 * n for n in range(60)])
    read(centre, "D11", "temperature", [3000 + 60.0 * n for n in range(40)])
    look(centre, now)
    found = state_of(centre, "D11")
    assert found["state"] == "blind", found
    by_metric = {one["metric"]: one for one in found["metrics"]}
    assert (by_metric["smoke"]["state"], by_metric["temperature"]["state"]) == ("online", "blind")
    assert by_metric["temperature"]["every_s"] == 60
    assert "temperature" in found["reason_en"]
    assert get(centre, "/api/device-health?state=blind")["counts"]["blind"] == 1
    (alarm,) = centre.execute(
        "SELECT a.id, a.category, a.class, a.cleared_at, m.code FROM alarms a JOIN metrics m ON m.id = a.metric_id"
        " WHERE a.rule_id = 'system.device_blind'"
    )
    assert alarm[1:] == ("device.fault.sensor", "C", None, "temperature")
    centre.execute("NOTIFY changed")
    incident = wait_for(
        centre,
        "SELECT u.code, i.class, i.reason_en FROM alarms a JOIN incidents i ON i.id = a.incident_id"
        " LEFT JOIN units u ON u.id = i.unit_id WHERE a.id = %s",
        alarm[0],
    )
    assert incident[:2] == ("U1", "C")
    assert "maintainer" in str(incident[2])
    shown = get(centre, f"/api/alarms/{alarm[0]}")
    assert (shown["rule"], shown["device"]) == ("system.device_blind", "D11")
    assert centre.client.get(f"/api/alarms/{alarm[0]}/why").status_code == 200
    read(centre, "D11", "temperature", [-1.0])
    centre.execute("UPDATE device_metrics SET due_at = now()")
    look(centre, datetime.now(UTC) + timedelta(seconds=30))
    assert state_of(centre, "D11")["state"] == "online"
    assert centre.execute("SELECT cleared_at IS NOT NULL FROM alarms WHERE id = %s", alarm[0]) == [(True,)]


def wait_for(centre: Centre, query: str, *parameters: object) -> tuple[object, ...]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := centre.execute(query, *parameters):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(query)


def test_a_silent_gateway_explains_its_children(centre: Centre) -> None:
    centre.execute(
        "INSERT INTO devices (code, kind, cell_id) SELECT 'GW1', 'gateway', id FROM areas WHERE code = 'C4'"
    )
    centre.execute("UPDATE devices SET gateway = 'GW1' WHERE code IN ('D12', 'D13', 'D14')")
    centre.execute("UPDATE devices SET gateway = 'GW2' WHERE code IN ('D15', 'D16', 'D17', 'D18')")
    for code in ("GW1", "D12", "D13", "D14"):
        heard(centre, code, 7200)
    for code, ago in (("D15", 9000), ("D16", 9100), ("D17", 9200), ("D18", 9300)):
        heard(centre, code, ago)
    found = state_of(centre, "D12")
    assert (found["state"], found["explained_by"]) == ("silent", "GW1")
    assert "GW1" in found["reason_en"]
    by_code = {one["code"]: one for one in get(centre, "/api/device-health/gateways")["items"]}
    one, two = by_code["GW1"], by_code["GW2"]
    assert (one["fate"], one["registered"], one["state"], one["children"], one["silent"]) == (
        "gateway",
        True,
        "silent",
        3,
        3,
    )
    assert (two["fate"], two["registered"], two["state"], two["children"], two["silent"]) == (
        "together",
        False,
        None,
        4,
        4,
    )
    first = datetime.fromisoformat(two["first_silent_at"])
    assert abs((datetime.now(UTC) - first).total_seconds() - 9300) < 60
    heard(centre, "D15", 5)
    again = get(centre, "/api/device-health/gateways?limit=1")
    assert [item["code"] for item in again["items"]] == [
        "GW1"
    ]  # as many silent children as GW2, and first by code
    rest = get(centre, f"/api/device-health/gateways?limit=1&cursor={again['next']}")
    assert [(item["code"], item["fate"]) for item in rest["items"]] == [("GW2", "some")]


def roll(
    centre: Centre, codes: Sequence[str], metric: str, days: Sequence[datetime], means: Sequence[float]
) -> None:
    """Three hours of each day, as the upkeep of the centre rolls them up."""
    centre.execute(
        """
        INSERT INTO rollups (step_s, device_id, metric_id, bucket, readings, minimum, mean, maximum)
        SELECT 3600, d.id, m.id, u.day + make_interval(hours => hour), 12, u.mean, u.mean, u.mean
        FROM devices d, metrics m, unnest(%s::timestamptz[], %s::float8[]) u (day, mean), unnest('{3,9,15}'::int[]) hour
        WHERE d.code = ANY(%s) AND m.code = %s
        """,
        list(days), list(means), list(codes), metric,
    )  # fmt: skip


def run_days(centre: Centre, days: int) -> None:
    async def work(connection: Any) -> None:
        for _ in range(days):
            await device_health_loop.day_by_day(connection, datetime.now(UTC), asyncio.Event())

    in_database(centre, work)


def test_batteries_behind_one_gateway_become_one_incident_before_they_end(
    centre: Centre, today: datetime
) -> None:
    days = [today - timedelta(days=age) for age in range(32, 2, -1)]
    codes = ("D15", "D16", "D17", "D18")
    numbers = range(len(days))
    roll(centre, codes, "battery", days, [50 - n for n in numbers])
    roll(centre, codes, "rssi", days, [-90 - n / 2 for n in numbers])
    roll(centre, ["D19"], "battery", days, [80] * len(days))
    roll(centre, ["D20"], "battery", days, [50 - n if n < 25 else 100 for n in numbers])
    centre.execute("INSERT INTO rollup_progress VALUES (true, %s, now())", (today - timedelta(days=2)).date())
    centre.execute("INSERT INTO device_health_progress VALUES (true, %s)", days[0].date())
    run_days(centre, len(days) + 1)
    found = state_of(centre, "D15")
    battery = found["battery"]
    assert battery["state"] == "falling"
    assert abs(battery["per_day"] + 1) < 0.01
    end = datetime.fromisoformat(battery["end"]).date()
    assert abs((end - today.date()).days - 8) <= 1  # 21 % three days ago, one a day, 10 % is the end
    assert (
        datetime.fromisoformat(battery["early"]).date()
        <= end
        <= datetime.fromisoformat(battery["late"]).date()
    )
    assert (found["signal"]["metric"], found["signal"]["state"]) == ("rssi", "falling")
    assert state_of(centre, "D19")["battery"]["state"] == "steady"
    assert state_of(centre, "D20")["battery"]["state"] == "not_enough"  # replaced five days ago
    listed = get(centre, "/api/device-health/batteries?days=30&limit=3")
    more = get(centre, f"/api/device-health/batteries?days=30&limit=3&cursor={listed['next']}")
    assert [one["code"] for one in [*listed["items"], *more["items"]]] == list(codes)
    assert more["next"] is None
    assert listed["counts"] == {"falling": 4, "steady": 1, "not_enough": 1}
    assert get(centre, "/api/device-health/batteries?days=2")["items"] == []
    wait_for(centre, "SELECT 1 FROM alarms WHERE rule_id = 'system.device_battery' AND incident_id IS NOT NULL"
                     " HAVING count(*) = 4")  # fmt: skip
    assert centre.execute(
        "SELECT count(DISTINCT incident_id), count(DISTINCT device_id), bool_and(a.class = 'C') FROM alarms a"
        " WHERE rule_id = 'system.device_battery'"
    ) == [(1, 4, True)]
    centre.execute("UPDATE device_health SET battery = 'not_enough', end_at = NULL WHERE end_at IS NOT NULL")
    in_database(centre, lambda connection: device_health_loop.foresee(connection, datetime.now(UTC)))
    assert centre.execute(
        "SELECT count(*) FROM alarms WHERE rule_id = 'system.device_battery' AND cleared_at IS NULL"
    ) == [(0,)]


def test_availability_counts_hours_that_we_listened_to(centre: Centre, today: datetime) -> None:
    centre.execute("UPDATE devices SET first_heard_at = NULL")
    centre.execute("TRUNCATE heard_hours, listened_hours")
    day = today - timedelta(days=3)
    centre.execute(
        "UPDATE devices SET model = 'AV', first_heard_at = %s WHERE code IN ('D1', 'D2')",
        day - timedelta(days=9),
    )
    centre.execute("UPDATE devices SET model = 'AV', first_heard_at = %s WHERE code = 'D3'", day + 12 * HOUR)
    centre.execute(
        "UPDATE devices SET model = 'DAILY', expected_interval_s = 86400, first_heard_at = %s WHERE code = 'D4'",
        day - timedelta(days=9),
    )
    # We were deaf from 06:00 to 10:00, and not there the day after.
    listened = 0xFFFFFF & ~0b1111000000
    centre.execute("INSERT INTO listened_hours VALUES (%s, %s), (%s, 16777215)", day.date(), listened,
                   (day + timedelta(days=2)).date())  # fmt: skip
    for code, hours in (("D1", 0xFFFFFF), ("D2", 0x0FFFFF), ("D3", 0xFFF000), ("D4", 1)):
        centre.execute(
            "INSERT INTO heard_hours SELECT %s, id, %s FROM devices WHERE code = %s", day.date(), hours, code
        )
    asked = f"from={day.isoformat()}&to={(day + timedelta(days=1)).isoformat()}".replace("+", "%2B")
    items = {
        one["key"]: one for one in get(centre, f"/api/device-health/availability?by=model&{asked}")["items"]
    }
    # D1 20 of 20, D2 16 of 20, D3 11 of 11 from the hour after its first word.
    assert (items["AV"]["devices"], items["AV"]["expected"], items["AV"]["heard"]) == (3, 51, 47)
    assert items["AV"]["share"] == round(47 / 51, 5)
    assert (items["DAILY"]["expected"], items["DAILY"]["share"]) == (0, None)  # not a whole day of ours
    two = f"from={day.isoformat()}&to={(day + timedelta(days=3)).isoformat()}".replace("+", "%2B")
    items = {
        one["key"]: one for one in get(centre, f"/api/device-health/availability?by=model&{two}")["items"]
    }
    assert (items["AV"]["expected"], items["DAILY"]["expected"], items["DAILY"]["heard"]) == (51 + 72, 1, 0)
    answer = centre.client.get(f"/api/device-health/availability.csv?by=model&{asked}")
    lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert lines[1][:6] == ["AV", "3", "0", "51", "47", str(round(47 / 51, 5))]
    assert centre.client.get("/api/device-health/availability?by=colour").status_code == 422
    wrong = centre.client.get(f"/api/device-health/availability?by=kind&from={today.isoformat().replace('+', '%2B')}"
                              f"&to={day.isoformat().replace('+', '%2B')}")  # fmt: skip
    assert wrong.status_code == 422


def test_heard_hours_are_marked_as_they_pass(centre: Centre) -> None:
    centre.execute("TRUNCATE heard_hours, listened_hours")
    heard(centre, "D9", 30)
    now = datetime.now(UTC)
    at = now - timedelta(seconds=30)
    centre.execute(
        "INSERT INTO ingest_sessions (client_id, listening_from, alive_at) VALUES ('a', %s, %s)",
        now.replace(minute=30, second=0, microsecond=0) - 5 * HOUR,  # half of the first hour is missed
        now,
    )
    try:
        for _ in range(2):
            in_database(
                centre,
                lambda connection: device_health_loop.mark(connection, now, since=now - timedelta(minutes=2)),
            )
    finally:
        centre.execute("DELETE FROM ingest_sessions")
    assert centre.execute(
        "SELECT hours FROM heard_hours h JOIN devices d ON d.id = h.device_id WHERE d.code = 'D9' AND day = %s",
        at.date(),
    ) == [(1 << at.hour,)]
    listened = dict(centre.execute("SELECT day, hours FROM listened_hours"))
    assert sum(int(hours).bit_count() for hours in listened.values()) == 4  # type: ignore[call-overload]  # integers


def test_only_one_centre_looks(centre: Centre) -> None:
    async def two(one: Any) -> tuple[bool, bool]:
        async with await changes.open_connection(centre.url, "test", autocommit=True) as other:
            first = await alone.try_alone(one, Right.LOOK_AT_DEVICES)
            second = await alone.try_alone(other, Right.LOOK_AT_DEVICES)
            await alone.give_up(one, Right.LOOK_AT_DEVICES)
            return first, second

    for _ in range(50):  # the centre's own loop has it now and then
        first, second = in_database(centre, two)
        if first:
            break
    assert (first, second) == (True, False)
