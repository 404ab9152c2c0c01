"""What several centres share by the database: rights of one, their word about themselves, duties done once."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from city.settings import Settings
from city.storage import alone, centres
from city.storage.alone import Right
from city.storage.centres import Said
from city.storage.changes import open_connection
from city.storage.database import DatabaseError
from command_centre.api.screen.guests import LEAVING, STRANGER, Dismissed
from command_centre.api.screen.hub import Hub
from command_centre.api.screen.parting import see_off
from command_centre.certificate_alarm import RULE, CertificateWatch
from command_centre.disk_alarm import FULL_RULE, LITTLE_RULE, watch_disk
from command_centre.leaving import Leaving
from command_centre.readiness import Migrations
from tests.servers.postgres import PostgresServer

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


async def until_alone(connection: alone.Connection, right: Right, quiet_s: float = alone.QUIET_S) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await alone.try_alone(connection, right, quiet_s=quiet_s):
            await asyncio.sleep(0.02)


def test_a_right_goes_on_with_the_end_of_who_had_it(url: str) -> None:
    async def contend() -> tuple[bool, bool, bool]:
        first, second = [await open_connection(url, "test", autocommit=True) for _ in range(2)]
        async with second:
            async with first:
                one = await alone.try_alone(first, Right.FORECAST)
                other = await alone.try_alone(second, Right.FORECAST)
                elsewhere = await alone.try_alone(second, Right.CLEAN)
            await until_alone(second, Right.FORECAST)  # the server notices the end a moment later
        return one, other, elsewhere

    assert asyncio.run(contend()) == (True, False, True)


def test_who_stands_still_loses_right_and_line_and_who_is_heard_does_not(url: str) -> None:
    async def contend() -> bool:
        still = await open_connection(url, "stands still", autocommit=True)
        other = await open_connection(url, "test", autocommit=True)
        async with other:
            assert await alone.try_alone(still, Right.SPEAK_TO_SIGNS)
            assert not await alone.try_alone(other, Right.SPEAK_TO_SIGNS)  # heard a moment ago
            await alone.touch(still)
            await until_alone(other, Right.SPEAK_TO_SIGNS, quiet_s=0.0)
            with pytest.raises(psycopg.OperationalError):
                await alone.touch(still)  # what it would write now is not written
        return still.broken

    assert asyncio.run(contend())


def said(name: str, **more: object) -> Said:
    return Said(**{"id": name, "host": name, "certificates_end": {}, **more})  # type: ignore[arg-type]  # as given


def test_centres_know_who_else_stays(url: str) -> None:
    async def speak() -> list[int]:
        async with await open_connection(url, "test", autocommit=True) as connection:
            await connection.execute("DELETE FROM centres")
            for one in (said("a"), said("b"), said("c", leaving=True)):
                await centres.say(connection, one)
            counted = [await centres.others(connection, "a"), await centres.others(connection, "c")]
            await centres.gone(connection, "b")
            counted.append(await centres.others(connection, "a"))
            await connection.execute("UPDATE centres SET seen_at = now() - %s", (2 * centres.ALIVE,))
            return [*counted, await centres.others(connection, "a")]

    assert asyncio.run(speak()) == [1, 2, 0, 0]


def test_a_duty_is_taken_once_and_with_the_transaction(url: str) -> None:
    async def take() -> list[bool]:
        hour = timedelta(hours=1)
        async with await open_connection(url, "test", autocommit=True) as connection:
            async with connection.transaction(force_rollback=True):
                assert await centres.take_turn(connection, "round", hour)
            taken = [await centres.take_turn(connection, "round", hour) for _ in range(2)]
            await connection.execute("UPDATE duties SET done_at = done_at - %s", (hour,))
            return [*taken, await centres.take_turn(connection, "round", hour)]

    assert asyncio.run(take()) == [True, False, True]


def test_a_centre_with_room_does_not_clear_what_one_without_has_raised(url: str, tmp_path: Path) -> None:
    roomy = Settings(data_dir=tmp_path, disk_warn_gb=0, disk_stop_gb=0, _env_file=None)

    async def look() -> list[set[str]]:
        found: list[set[str]] = []
        async with await open_connection(url, "test", autocommit=True) as connection:
            for disk in ("none", "little", "ok"):
                await centres.say(connection, said("full", disk=disk, disk_free_bytes=7))
                await watch_disk(connection, datetime.now(UTC), roomy)
                cursor = await connection.execute("SELECT rule_id FROM alarms WHERE cleared_at IS NULL")
                found.append({row[0] for row in await cursor.fetchall()})
            cursor = await connection.execute("SELECT DISTINCT evidence ->> 'files_host' FROM alarms")
            assert await cursor.fetchall() == [("full",)]  # whoever comes knows where to make room
        return found

    assert asyncio.run(look()) == [{LITTLE_RULE, FULL_RULE}, {LITTLE_RULE}, set()]


def test_a_certificate_of_another_centre_counts_as_our_own(url: str) -> None:
    async def look() -> list[bool]:
        standing = []
        async with await open_connection(url, "test", autocommit=True) as connection:
            for days in (3, 300):
                ends = {"CITY_MQTT_CERT_FILE": (datetime.now(UTC) + timedelta(days=days)).isoformat()}
                await centres.say(connection, said("other", certificates_end=ends))
                watch = CertificateWatch(Settings(_env_file=None))  # it sees none itself
                await watch.look(connection, datetime.now(UTC))
                cursor = await connection.execute(
                    "SELECT count(*) FROM alarms WHERE rule_id = %s AND cleared_at IS NULL", (RULE,)
                )
                row = await cursor.fetchone()
                standing.append(bool(row and row[0]))
        return standing

    assert asyncio.run(look()) == [True, False]


@pytest.mark.parametrize("another", [True, False])
def test_a_centre_that_leaves_sends_its_screens_away_only_where_they_can_go(url: str, another: bool) -> None:
    class Seen:
        code = 0

        def dismiss(self, why: Dismissed) -> None:
            self.code = why.code

    async def leave() -> tuple[list[int], bool]:
        stop = asyncio.Event()
        leaving = Leaving(stop, drain_s=0.2)
        async with AsyncConnectionPool(url, min_size=1, kwargs={"autocommit": True}, open=False) as pool:
            async with pool.connection() as connection:
                await connection.execute("DELETE FROM centres")
                await centres.say(connection, said("own"))
                if another:
                    await centres.say(connection, said("another"))
            hub = Hub(url, pool)
            screens = [Seen(), Seen()]
            hub.guests |= dict.fromkeys(screens, STRANGER)
            parting = asyncio.create_task(see_off(hub, leaving, pool, "own", stop))
            leaving.drain_s = 60  # the end shall not come before the database has answered
            leaving.ask()
            leaving.drain_s = 0.2
            if another:
                async with asyncio.timeout(PATIENCE_S):
                    while not all(screen.code for screen in screens):
                        await asyncio.sleep(0.02)
            else:
                while not pool.get_stats().get("requests_num", 0) > 1:
                    await asyncio.sleep(0.02)
            stop.set()
            await parting
            return [screen.code for screen in screens], hub.closing

    assert asyncio.run(leave()) == (([LEAVING] * 2, True) if another else ([0, 0], False))


def test_whether_the_schema_is_complete_is_asked_once_a_second_and_not_of_a_pool_that_is_busy(
    url: str,
) -> None:
    clock = [100.0]
    with ConnectionPool(url, min_size=1, max_size=1) as pool:
        missing = Migrations(pool, lambda: clock[0])
        assert missing() == missing() == []
        assert pool.get_stats()["requests_num"] == 1
        clock[0] += 1.0
        with pool.connection():
            assert missing() == []  # nobody is taken out of service for being busy
        fresh = Migrations(pool, lambda: clock[0])
        with pool.connection(), pytest.raises(DatabaseError):
            fresh()
