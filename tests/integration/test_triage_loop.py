"""Committed alarms become stored incidents: once, with an owner or a reason, whoever else is at work."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

import city
from city.incidents import Incident
from city.settings import Settings
from city.storage import incidents as stored
from city.storage.changes import open_connection
from command_centre import actions, triage_loop, upkeep
from command_centre.known_directory import KnownDirectory
from rules.definitions import to_rows
from tests.integration.small_town import NOW, build, clear_alarm, raise_alarm, rows

MINUTE = timedelta(minutes=1)


@pytest.fixture
def town(migrated_url: str) -> str:
    build(migrated_url)
    return migrated_url


def triage(url: str, now: object = NOW, limit: int = 100) -> int:
    """One batch, as one centre does it."""

    async def once() -> int:
        async with await open_connection(url, "test", autocommit=True) as connection:
            known = KnownDirectory(Settings().zone)
            return await triage_loop.triage_batch(connection, known, now, mail=True, limit=limit)  # type: ignore[arg-type]  # a datetime

    return asyncio.run(once())


def kinds(url: str, incident_id: object) -> list[object]:
    return [
        row[0]
        for row in rows(
            url, "SELECT kind FROM incident_events WHERE incident_id = %s ORDER BY seq", incident_id
        )
    ]


def test_an_alarm_becomes_an_incident_with_unit_and_deadline(town: str) -> None:
    alarm = raise_alarm(town, "c02-s1")
    assert triage(town) == 1
    found = rows(
        town,
        "SELECT i.number, i.state, i.class, u.code, i.due_at, i.reason, i.reason_en FROM incidents i"
        " LEFT JOIN units u ON u.id = i.unit_id",
    )
    assert found[0][:5] == ("20261121-0001", "dispatched", "B", "fire-east", NOW + 30 * MINUTE)
    assert "东街" in str(found[0][5])
    assert "East fire station" in str(found[0][6])
    assert rows(town, "SELECT triage, incident_id FROM alarms WHERE id = %s", alarm) == [("done", 1)]
    assert kinds(town, 1) == ["opened", "dispatched", "nobody_told"]
    assert ("incident.opened", "1") in rows(town, "SELECT kind, object FROM changes")
    said = rows(town, "SELECT detail->>'device', detail->>'cell' FROM incident_events WHERE seq = 1")
    assert said == [("c02-s1", "c02")]


def test_no_unit_is_the_lane_with_what_is_missing(town: str) -> None:
    raise_alarm(town, "d00-s1")
    triage(town)
    state, unit, reason, reason_en, due = rows(
        town, "SELECT state, unit_id, reason, reason_en, due_at FROM incidents"
    )[0]
    assert (state, unit) == ("filed", None)
    assert "西街" in str(reason)
    assert "no unit is responsible for Smoke alarm (fire.smoke) in West Street" in str(reason_en)
    assert due == NOW + 30 * MINUTE
    assert kinds(town, 1) == ["opened", "unassigned"]


def test_smoke_in_two_cells_and_a_camera_are_one_incident_across_communities(town: str) -> None:
    raise_alarm(town, "c04-s1")
    triage(town)
    raise_alarm(town, "c05-s1", at=NOW + MINUTE)
    triage(town, NOW + MINUTE)
    raise_alarm(town, "c05-k1", rule="flame", category="fire.detection", at=NOW + 2 * MINUTE)
    triage(town, NOW + 2 * MINUTE)
    assert rows(town, "SELECT count(*), min(class) FROM incidents") == [(1, "A")]
    assert rows(town, "SELECT count(*) FROM alarms WHERE incident_id = 1") == [(3,)]
    assert kinds(town, 1).count("joined") == 2
    assert "class_raised" in kinds(town, 1)


def test_a_burst_of_one_fire_in_one_batch_is_one_incident(town: str) -> None:
    for device in ("c02-s1", "c02-s2", "c03-s1", "c01-s1"):
        raise_alarm(town, device)
    assert triage(town) == 4
    assert rows(town, "SELECT class, version FROM incidents") == [("A", 1)]
    assert rows(town, "SELECT count(*) FROM changes WHERE kind LIKE 'incident.%'") == [(1,)]


def test_two_centres_with_one_fire_open_one_incident(town: str) -> None:
    """Twelve alarms of one fire on a border, four centres taking one alarm at a time, all at once."""

    async def centres() -> None:
        connections = [await open_connection(town, f"centre {n}", autocommit=True) for n in range(4)]
        try:
            await asyncio.gather(*(work(connection) for connection in connections))
        finally:
            for connection in connections:
                await connection.close()

    async def work(connection: psycopg.AsyncConnection[object]) -> None:
        known = KnownDirectory(Settings().zone)
        while await triage_loop.triage_batch(connection, known, NOW, mail=False, limit=1):
            pass

    for device in ("s1", "s2"):
        for cell in ("c02", "c03", "c04", "c05", "c06", "c07"):
            raise_alarm(town, f"{cell}-{device}")
    asyncio.run(centres())
    # c04 and c05 lie in two communities; cells two apart may open two incidents, never one cell two.
    assert rows(town, "SELECT count(*) FROM alarms WHERE triage = 'new'") == [(0,)]
    assert (
        rows(town, "SELECT cell_id FROM alarms GROUP BY cell_id HAVING count(DISTINCT incident_id) > 1") == []
    )
    apart = rows(
        town,
        """
        SELECT a.id, b.id FROM alarms a JOIN area_neighbours n ON n.area_id = a.cell_id
        JOIN alarms b ON b.cell_id = n.neighbour_id AND b.id > a.id AND b.incident_id <> a.incident_id
        WHERE NOT EXISTS (SELECT FROM incident_events e WHERE e.detail ? 'also_fits')
        """,
    )
    assert apart == []


def test_late_and_over_is_recorded_without_an_incident(town: str) -> None:
    raise_alarm(town, "c02-s1", cleared_at=NOW + MINUTE, late=True)
    triage(town)
    assert rows(town, "SELECT triage, incident_id FROM alarms") == [("recorded", None)]
    assert rows(town, "SELECT count(*) FROM incidents") == [(0,)]


def test_what_a_district_below_decides_opens_nothing_here_but_its_nodes_silence_does(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute("INSERT INTO device_kinds (code, name) VALUES ('district_node', '节点')")
        connection.execute(
            "INSERT INTO devices (code, kind, cell_id) SELECT 'D07', 'district_node', cell_id FROM devices"
            " WHERE code = 'c02-s1'"
        )
        connection.execute("UPDATE devices SET gateway = 'D07' WHERE code IN ('c02-s1', 'c02-s2')")
    below, node = raise_alarm(town, "c02-s1"), raise_alarm(town, "D07", category="device.silent")
    triage(town)
    assert rows(town, "SELECT id, triage FROM alarms ORDER BY id") == [(below, "recorded"), (node, "done")]
    assert rows(town, "SELECT category FROM incidents") == [("device.silent",)]


def test_a_late_alarm_waits_for_its_page_after(town: str) -> None:
    raise_alarm(town, "c02-s1", late=True, page_after=NOW + MINUTE)
    assert triage(town, NOW) == 0
    assert triage(town, NOW + MINUTE) == 1
    assert "late" in str(rows(town, "SELECT reason_en FROM incidents")[0][0])


def test_a_detector_under_test_is_held_and_comes_back_while_it_stands(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "UPDATE devices SET service_state = 'under_test', service_until = %s WHERE code LIKE 'c02-%%'",
            (NOW + 10 * MINUTE,),
        )
    standing, over = raise_alarm(town, "c02-s1"), raise_alarm(town, "c02-s2")
    triage(town)
    assert rows(town, "SELECT DISTINCT triage FROM alarms") == [("held",)]
    clear_alarm(town, over, NOW + MINUTE)

    async def end() -> None:
        async with await open_connection(town, "test", autocommit=True) as connection:
            await upkeep.back_in_service(connection, NOW + 10 * MINUTE)

    asyncio.run(end())
    assert rows(town, "SELECT service_state FROM devices WHERE code LIKE 'c02-%'") == [("in_service",)] * 3
    assert rows(town, "SELECT count(*) FROM audit WHERE action = 'device.service'") == [(3,)]
    triage(town, NOW + 10 * MINUTE)
    states = dict(rows(town, "SELECT id, triage FROM alarms"))  # type: ignore[arg-type]  # pairs
    assert states == {standing: "done", over: "recorded"}


def test_drills_get_their_own_incident(town: str) -> None:
    raise_alarm(town, "c02-s1")
    raise_alarm(town, "c02-s2", exercise=True)
    triage(town)
    assert rows(town, "SELECT exercise FROM incidents ORDER BY exercise") == [(False,), (True,)]


def test_an_unclaimed_device_is_named_in_the_reason(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute("UPDATE devices SET registration = 'unclaimed' WHERE code = 'c02-s1'")
    raise_alarm(town, "c02-s1")
    triage(town)
    reason, reason_en = rows(town, "SELECT reason, reason_en FROM incidents")[0]
    assert "未认领" in str(reason)
    assert "device c02-s1 is unclaimed" in str(reason_en)


def test_the_directory_is_read_again_when_a_responsibility_changes(town: str) -> None:
    async def both() -> None:
        known = KnownDirectory(Settings().zone)
        async with await open_connection(town, "test", autocommit=True) as connection:
            await triage_loop.triage_batch(connection, known, NOW, mail=False)
            with psycopg.connect(town) as other:
                other.execute("UPDATE units SET active = false WHERE code = 'fire-east'")
            raise_alarm(town, "c09-s1")
            await triage_loop.triage_batch(connection, known, NOW, mail=False)

    raise_alarm(town, "c01-s1")
    asyncio.run(both())
    assert rows(town, "SELECT unit_id IS NULL FROM incidents ORDER BY id") == [(False,), (True,)]
    assert "no longer active" in str(rows(town, "SELECT reason_en FROM incidents WHERE id = 2")[0][0])


def test_numbers_follow_the_districts_day_without_gaps(town: str) -> None:
    raise_alarm(town, "c00-s1")
    raise_alarm(town, "c05-s1")
    triage(town, NOW)
    evening = NOW + timedelta(hours=12, minutes=1)  # past midnight in Shanghai
    raise_alarm(town, "d00-s1", at=evening)
    triage(town, evening)
    numbers = [row[0] for row in rows(town, "SELECT number FROM incidents ORDER BY id")]
    assert numbers == ["20261121-0001", "20261121-0002", "20261122-0001"]


@pytest.mark.parametrize("cells", [60, pytest.param(250, marks=pytest.mark.slow)])
def test_many_alarms_at_once_are_all_triaged_and_every_chain_holds(town: str, cells: int) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "INSERT INTO areas (layer, code, name, parent_id) SELECT 'cell', 'x' || n, 'x' || n,"
            " (SELECT id FROM areas WHERE code = 'm1') FROM generate_series(1, %s) n",
            (cells,),
        )
        connection.execute(
            "INSERT INTO devices (code, kind, cell_id) SELECT a.code || '-' || n, 'smoke', a.id FROM areas a,"
            " generate_series(1, 2) n WHERE a.code LIKE 'x%'"
        )
        connection.execute(
            "INSERT INTO alarms (rule_id, rule_version, device_id, cell_id, category, level, raised_at, evidence)"
            " SELECT 'r', 1, id, cell_id, 'fire.smoke', 'red', %s, '{}' FROM devices WHERE code LIKE 'x%%'",
            (NOW,),
        )

    async def run() -> dict[int, int]:
        async with await open_connection(town, "test", autocommit=True) as connection:
            known = KnownDirectory(Settings().zone)
            while await triage_loop.triage_batch(connection, known, NOW, mail=False):
                pass
            return await stored.verify_all(connection)

    broken = asyncio.run(run())
    assert rows(town, "SELECT count(*), count(DISTINCT incident_id) FROM alarms WHERE triage = 'done'") == [
        (2 * cells, cells)
    ]
    assert broken == {}


def test_the_running_loop_triages_what_is_committed_and_stops(town: str) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.create_task(triage_loop.run(town, Settings(), stop))
        try:
            for number in range(3):
                alarm = await asyncio.to_thread(raise_alarm, town, f"c0{number * 2}-s1", rule=f"r{number}")
                waiting = "SELECT 1 FROM alarms WHERE id = %s AND triage = 'new'"
                while await asyncio.to_thread(rows, town, waiting, alarm):
                    assert not loop.done(), loop.result()
                    await asyncio.sleep(0.01)
        finally:
            stop.set()
            await asyncio.wait_for(loop, 60)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert rows(town, "SELECT count(*) FROM alarms WHERE triage = 'done'") == [(3,)]


# ── fusion ────────────────────────────────────────────────────────────────────────────────────────────────


def fusion_rules(url: str) -> None:
    """The built-in rules of type fusion, in force."""
    path = Path(city.__file__).parent / "defaults" / "rules" / "confirmed.toml"
    with psycopg.connect(url) as connection:
        for rule_id, definition in to_rows(path.read_text("utf-8"), path.name):
            connection.execute(
                "INSERT INTO rules (id, version, definition, active) VALUES (%s, 1, %s, true)",
                (rule_id, Jsonb(definition)),
            )


def call(url: str, cell: str, category: str = "fire", at: datetime = NOW) -> Incident:
    """A dispatcher opens by hand what somebody tells on the telephone."""

    async def once() -> Incident:
        async with await open_connection(url, "test", autocommit=True) as connection:
            return await actions.open_by_person(
                connection,
                Settings(),
                category=category,
                cell=cell,
                actor="user:1",
                role="dispatcher",
                now=at,
                text="三楼有烟",
            )

    return asyncio.run(once())


def test_smoke_a_camera_and_a_caller_are_one_incident_of_class_a(town: str) -> None:
    fusion_rules(town)
    raise_alarm(town, "c04-s1")
    triage(town)
    assert rows(town, "SELECT class FROM incidents") == [("B",)]
    told = call(town, "c05", at=NOW + MINUTE)
    assert (told.id, told.incident_class) == (1, "A")
    raise_alarm(town, "c05-k1", rule="camera-fire", category="fire.detection", at=NOW + 2 * MINUTE)
    triage(town, NOW + 2 * MINUTE)
    assert rows(town, "SELECT count(*), min(class) FROM incidents") == [(1, "A")]
    fused = rows(
        town,
        "SELECT reason, detail->>'reason_en', detail->'sources' FROM incident_events WHERE kind = 'fused' ORDER BY seq",
    )
    assert [len(row[2]) for row in fused] == [2, 3]  # type: ignore[arg-type]  # a JSON list
    assert "烟感、人员报告：2 个不同来源在同一网格及相邻网格内、30 分钟内相互印证" in str(fused[0][0])
    assert "smoke detector, camera, caller: 3 different sources agree" in str(fused[1][1])
    assert kinds(town, 1).count("reported") == 1
    assert rows(town, "SELECT text FROM incident_texts") == [("三楼有烟",)]
    assert asyncio.run(broken_chains(town)) == {}


def test_a_caller_first_is_joined_and_confirmed_by_smoke(town: str) -> None:
    fusion_rules(town)
    assert call(town, "c02").incident_class == "A"  # what people say of fire is class A by the catalogue
    call(town, "c08", category="fire.smoke", at=NOW)
    raise_alarm(town, "c09-s1", at=NOW + MINUTE)
    triage(town, NOW + MINUTE)
    assert rows(town, "SELECT id, class FROM incidents ORDER BY id") == [(1, "A"), (2, "A")]
    assert "fused" in kinds(town, 2)
    assert "fused" not in kinds(town, 1)


def test_a_caller_elsewhere_or_of_something_else_opens_their_own(town: str) -> None:
    fusion_rules(town)
    raise_alarm(town, "c02-s1")
    triage(town)
    call(town, "c07", at=NOW + MINUTE)
    call(town, "c02", category="public.person", at=NOW + MINUTE)
    call(town, "c02", at=NOW + 40 * MINUTE)  # ten minutes too late for the window
    assert rows(town, "SELECT count(*) FROM incidents") == [(4,)]


def test_two_smoke_detectors_are_one_source(town: str) -> None:
    fusion_rules(town)
    raise_alarm(town, "c02-s1")
    raise_alarm(town, "c02-s2")
    triage(town)
    assert rows(town, "SELECT class FROM incidents") == [("B",)]
    assert "fused" not in kinds(town, 1)


def test_in_one_batch_sources_fuse_as_well(town: str) -> None:
    fusion_rules(town)
    raise_alarm(town, "c02-s1")
    raise_alarm(town, "c03-k1", rule="camera-fire", category="fire.detection")
    triage(town)
    assert rows(town, "SELECT class FROM incidents") == [("A",)]
    assert kinds(town, 1).count("fused") == 1


def test_a_fusion_rule_that_cannot_be_read_stops_nobody(town: str) -> None:
    with psycopg.connect(town) as connection:
        connection.execute(
            "INSERT INTO rules (id, version, definition, active) VALUES ('x', 1, '{\"type\": \"fusion\"}', true)"
        )
    raise_alarm(town, "c02-s1")
    assert triage(town) == 1


async def broken_chains(url: str) -> dict[int, int]:
    async with await open_connection(url, "test", autocommit=True) as connection:
        return await stored.verify_all(connection)
