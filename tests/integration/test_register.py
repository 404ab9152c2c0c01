"""The register: devices heard before anybody listed them, and what ingest keeps of all in memory."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from city.devices import Kind, Metric, UnclaimedDevice
from city.storage import devices
from city.storage.database import connect


def unclaimed(code: str, cell: str = "C1", kind: str = "smoke") -> UnclaimedDevice:
    return UnclaimedDevice(code=code, kind=kind, cell_code=cell)


@pytest.fixture
def connection(either_migrated_url: str) -> Iterator[Connection[TupleRow]]:
    with connect(either_migrated_url, application="test") as opened:
        devices.upsert_kinds(
            opened,
            [Metric(code="smoke", unit="%", name="烟雾", name_en="Smoke")],
            [
                Kind(
                    code="smoke", name="烟感", name_en="Smoke", main_metric="smoke", expected_interval_s=300
                ),
                Kind(
                    code="camera", name="摄像机", name_en="Camera", main_metric=None, expected_interval_s=None
                ),
            ],
            overwrite=True,
        )
        opened.commit()
        yield opened


def test_an_unknown_device_is_registered_with_its_cell(connection: Connection[TupleRow]) -> None:
    rows = devices.register_unclaimed(
        connection, [unclaimed("s1"), unclaimed("s2", cell="C2"), unclaimed("s1")]
    )
    assert [row.code for row in rows] == ["s1", "s2"]
    assert {row.registration for row in rows} == {"unclaimed"}
    assert {row.expected_interval_s for row in rows} == {300}
    cells = connection.execute("SELECT id, code, layer, origin FROM areas ORDER BY code").fetchall()
    assert [cell[1:] for cell in cells] == [("C1", "cell", "topic"), ("C2", "cell", "topic")]
    assert [row.cell_id for row in rows] == [cells[0][0], cells[1][0]]


def test_a_device_without_a_cell_has_none(connection: Connection[TupleRow]) -> None:
    assert devices.register_unclaimed(connection, [unclaimed("s1", cell="")])[0].cell_id is None


def test_registering_again_returns_the_same_ids_and_burns_none(connection: Connection[TupleRow]) -> None:
    first = devices.register_unclaimed(connection, [unclaimed("s1")])
    again = devices.register_unclaimed(connection, [unclaimed("s1", cell="C9"), unclaimed("s2")])
    assert again[0] == first[0]
    assert again[1].id == first[0].id + 1


def test_two_workers_that_meet_the_same_devices_agree(
    connection: Connection[TupleRow], either_migrated_url: str
) -> None:
    wanted = [unclaimed(f"s{number}") for number in range(500)]
    found: list[list[int]] = []

    def work(part: list[UnclaimedDevice]) -> None:
        with connect(either_migrated_url, application="test") as own:
            found.append([row.id for row in devices.register_unclaimed(own, part)])

    workers = [threading.Thread(target=work, args=(part,)) for part in (wanted, wanted[::-1], wanted)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == 500


@pytest.mark.parametrize("names", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_new_names_at_once(connection: Connection[TupleRow], names: int) -> None:
    rows = devices.register_unclaimed(
        connection, [unclaimed(f"s{n}", cell=f"C{n % 700}") for n in range(names)]
    )
    assert len({row.id for row in rows}) == names
    assert len({row.cell_id for row in rows}) == 700


def test_the_register_in_columns_says_what_the_rows_say(connection: Connection[TupleRow]) -> None:
    rows = devices.register_unclaimed(connection, [unclaimed("s1"), unclaimed("k1", kind="camera", cell="")])
    heard = datetime(2026, 11, 21, 10, 0, 0, 250_000, tzinfo=UTC)
    connection.execute("INSERT INTO presence VALUES (%s, %s, 'online')", (rows[0].id, heard))
    connection.execute(
        "INSERT INTO stations (device_id, station_kind, warning_level_m, guaranteed_level_m)"
        " VALUES (%s, 'river', 3, 4)",
        (rows[0].id,),
    )
    register = devices.load_register(connection)
    row = devices.load_devices(connection, ["s1"])[0]
    assert len(register) == 2
    assert register.code == ["s1", "k1"]
    assert register.kind == ["smoke", "camera"]
    assert register.expected_interval_s.tolist() == [300, 0]
    assert register.cell_id.tolist() == [row.cell_id, 0]
    assert register.last_heard_us.tolist() == [row.last_heard_us, 0]
    assert row.last_heard_us == 1_795_255_200_250_000
    assert register.link == ["online", None]
    assert register.warning_m[0] == row.warning_m == 3
    assert np.isnan(register.highest_m).all()
    assert register.registration == ["unclaimed", "unclaimed"]


def test_the_register_is_empty_at_first(connection: Connection[TupleRow]) -> None:
    assert len(devices.load_register(connection)) == 0


@pytest.mark.parametrize("many", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_devices_load(connection: Connection[TupleRow], many: int) -> None:
    connection.execute(
        "INSERT INTO devices (code, kind) SELECT 'd' || n, 'smoke' FROM generate_series(1, %s) n",
        (many,),
    )
    register = devices.load_register(connection)
    assert len(register) == many
    assert (np.diff(register.id) > 0).all()


def test_the_version_grows_with_what_matters_and_only_then(connection: Connection[TupleRow]) -> None:
    def version() -> int:
        connection.commit()
        return devices.register_version(connection)

    before = version()
    devices.register_unclaimed(connection, [unclaimed("s1")])
    assert version() == before, "each worker meets unclaimed devices by itself"
    connection.execute("UPDATE devices SET first_heard_at = now(), clock_ahead_at = now()")
    connection.execute("UPDATE devices SET service_state = 'in_service' WHERE service_until < now()")
    assert version() == before
    changes = [
        "UPDATE devices SET registration = 'registered'",
        "UPDATE devices SET expected_interval_s = 60",
        "INSERT INTO devices (code, kind) VALUES ('s2', 'smoke')",
        "INSERT INTO stations (device_id, station_kind) SELECT id, 'river' FROM devices WHERE code = 's2'",
        "UPDATE stations SET warning_level_m = 3",
        "DELETE FROM stations",
        "DELETE FROM devices WHERE code = 's2'",
        "UPDATE device_kinds SET expected_interval_s = 600",
        "UPDATE areas SET name = 'x'",
    ]
    for change in changes:
        connection.execute(change.encode())
        after = version()
        assert after > before, change
        before = after


def test_metrics_that_no_file_names_get_ids(connection: Connection[TupleRow]) -> None:
    first = devices.register_metrics(connection, ["tilt", "smoke", "tilt"])
    assert set(first) == {"tilt", "smoke"}
    assert devices.register_metrics(connection, ["tilt"]) == {"tilt": first["tilt"]}
    assert devices.load_metrics(connection)["tilt"].id == first["tilt"]


def test_kinds_are_only_overwritten_when_asked(connection: Connection[TupleRow]) -> None:
    other = Kind(code="smoke", name="x", name_en="x", main_metric="smoke", expected_interval_s=5)
    devices.upsert_kinds(connection, [], [other], overwrite=False)
    assert devices.load_kinds(connection)["smoke"].expected_interval_s == 300
    devices.upsert_kinds(connection, [], [other], overwrite=True)
    assert devices.load_kinds(connection)["smoke"] == other


def test_claiming_makes_a_device_registered_and_is_written_down(connection: Connection[TupleRow]) -> None:
    devices.register_unclaimed(connection, [unclaimed("s1")])
    devices.claim(connection, "s1", actor="li")
    devices.claim(connection, "s1", actor="li")
    found = devices.get_device(connection, "s1")
    assert found is not None
    assert found.registration == "registered"
    assert connection.execute("SELECT actor, action, object FROM audit").fetchall() == [
        ("li", "device.claimed", "s1")
    ]
    with pytest.raises(devices.UnknownDeviceError, match="nobody"):
        devices.claim(connection, "nobody", actor="li")


def test_a_device_under_test_needs_an_end_and_a_reason(connection: Connection[TupleRow]) -> None:
    devices.register_unclaimed(connection, [unclaimed("s1")])
    now = datetime.now(UTC)
    end = now + timedelta(hours=2)
    for until, reason in ((None, "work"), (now, "work"), (end, " ")):
        with pytest.raises(devices.ServiceStateError):
            devices.set_service(
                connection, "s1", "under_test", until=until, reason=reason, actor="li", now=now
            )
    devices.set_service(connection, "s1", "under_test", until=end, reason="work", actor="li", now=now)
    found = devices.get_device(connection, "s1")
    assert found is not None
    assert (found.service_state, found.service_until, found.service_by) == ("under_test", end, "li")
    devices.set_service(connection, "s1", "in_service", until=end, reason="", actor="li", now=now)
    back = devices.get_device(connection, "s1")
    assert back is not None
    assert (back.service_state, back.service_until) == ("in_service", None)
    audited = connection.execute("SELECT detail ->> 'before', detail ->> 'after' FROM audit ORDER BY id")
    assert audited.fetchall() == [("in_service", "under_test"), ("under_test", "in_service")]


def test_devices_are_listed_page_by_page_and_filtered(connection: Connection[TupleRow]) -> None:
    devices.register_unclaimed(connection, [unclaimed(f"s{n}", cell=f"C{n % 2}") for n in range(5)])
    devices.register_unclaimed(connection, [unclaimed("k_1", kind="camera"), unclaimed("k11", kind="camera")])
    devices.claim(connection, "s3", actor="li")
    first = devices.list_devices(connection, kind="smoke", limit=3)
    rest = devices.list_devices(connection, kind="smoke", after=first[-1].code, limit=3)
    assert [device.code for device in first + rest] == ["s0", "s1", "s2", "s3", "s4"]
    assert [d.code for d in devices.list_devices(connection, cell="C1", kind="smoke")] == ["s1", "s3"]
    assert [d.code for d in devices.list_devices(connection, registration="registered")] == ["s3"]
    assert [d.code for d in devices.list_devices(connection, containing="k_")] == ["k_1"]
    assert devices.list_devices(connection, service_state="shelved") == []


def test_live_state_shows_the_link_and_open_alarms(connection: Connection[TupleRow]) -> None:
    row = devices.register_unclaimed(connection, [unclaimed("s1")])[0]
    now = datetime.now(UTC)
    connection.execute("INSERT INTO presence VALUES (%s, %s, NULL)", (row.id, now))
    connection.execute(
        "INSERT INTO alarms (rule_id, rule_version, device_id, category, level, raised_at, evidence)"
        " VALUES ('smoke', 1, %s, 'fire.smoke', 'red', now(), '{}')",
        (row.id,),
    )
    found = devices.get_device(connection, "s1")
    assert found is not None
    assert found.open_alarms == 1
    assert found.cell == "C1"
    assert found.online
    connection.execute("UPDATE presence SET last_heard_at = now() - interval '16 minutes'")
    late = devices.get_device(connection, "s1")
    assert late is not None
    assert not late.online
    connection.execute("UPDATE presence SET link = 'offline', last_heard_at = now()")
    signed_off = devices.get_device(connection, "s1")
    assert signed_off is not None
    assert not signed_off.online
