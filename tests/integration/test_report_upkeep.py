"""What nobody needs any more goes: photos that belong to nothing, allowances, contacts; and allowances refill."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image
from psycopg import AsyncConnection

from city.reports import Contact, NewReport
from city.settings import Settings
from city.storage import incidents, maintenance, photos, report_rates, reports
from command_centre import intake, notices
from command_centre import photos as taking
from tests.integration.small_town import NOW, build, rows
from tests.servers.postgres import PostgresServer

Done = TypeVar("Done")
DAY = timedelta(days=1)
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic's own


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create_database(template=postgres_template)
    build(postgres_server.url(name))
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


def on(url: str, work: Callable[[AsyncConnection[Any]], Awaitable[Done]]) -> Done:
    async def inside() -> Done:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(inside())


def picture(color: str) -> taking.Taken:
    out = BytesIO()
    Image.new("RGB", (20, 10), color).save(out, "PNG")
    return taking.examine("a.png", out.getvalue())


def report(
    url: str, text: str, contact: Contact | None = None, digests: tuple[bytes, ...] = (), cell: str = "c01"
) -> intake.Registered:
    async def work(connection: AsyncConnection[Any]) -> intake.Registered:
        async with connection.transaction():
            made = NewReport(
                channel="web", category="public.person", text=text, cell=cell, contact=contact, photos=digests
            )
            return await intake.register(connection, SETTINGS, made, now=NOW)

    return on(url, work)


def test_photos_that_belong_to_nothing_go_after_a_day(town: str, tmp_path: Path) -> None:
    used, unused = picture("red"), picture("blue")

    async def keep(connection: AsyncConnection[Any]) -> tuple[bytes, ...]:
        async with connection.transaction():
            return await taking.keep(connection, tmp_path, [used, unused, used], actor="user:1", now=NOW)

    digests = on(town, keep)
    assert digests == (used.photo.digest, unused.photo.digest)
    report(town, "有照片", digests=(used.photo.digest,))
    assert on(town, lambda c: taking.clean(c, tmp_path, NOW + DAY / 2)) == 0
    assert on(town, lambda c: taking.clean(c, tmp_path, NOW + 2 * DAY)) == 1
    assert taking.path(tmp_path, used.photo.digest).exists()
    assert taking.path(tmp_path, used.photo.digest, small=True).exists()
    assert not taking.path(tmp_path, unused.photo.digest).exists()
    assert not taking.path(tmp_path, unused.photo.digest, small=True).exists()
    assert on(town, lambda c: photos.unknown(c, digests)) == [unused.photo.digest]


def test_files_that_a_crash_left_without_a_row_go_when_their_folder_is_looked_at(
    town: str, tmp_path: Path
) -> None:
    left = picture("green")
    taking._write(tmp_path, left)
    half = taking.path(tmp_path, left.photo.digest).with_name(".half.jpg.00")
    half.write_bytes(b"x")
    foreign = half.with_name("notes.txt")
    foreign.write_bytes(b"x")
    much_later = NOW.replace(year=2036)
    wanted = left.photo.digest[0]
    here = int(much_later.timestamp() // 3600) % 256
    hours = [timedelta(hours=(wanted + turn - here) % 256) for turn in (1, 0)]
    on(town, lambda c: taking.clean(c, tmp_path, much_later + hours[0]))
    assert len(list(half.parent.iterdir())) == 4  # another folder's turn
    on(town, lambda c: taking.clean(c, tmp_path, much_later + hours[1]))
    assert [file.name for file in half.parent.iterdir()] == ["notes.txt"]


def test_a_photo_sent_again_while_it_is_cleaned_up_stays(town: str, tmp_path: Path) -> None:
    taken = picture("yellow")

    async def both(cleaner: AsyncConnection[Any]) -> None:
        async with cleaner.transaction():
            await taking.keep(cleaner, tmp_path, [taken], actor="user:1", now=NOW)
        async with await AsyncConnection.connect(town, autocommit=True) as sender:
            async with cleaner.transaction():
                assert await photos.drop_unused(cleaner, NOW + 2 * DAY, 10)

                async def send() -> None:
                    async with sender.transaction():
                        await taking.keep(sender, tmp_path, [taken], actor="user:1", now=NOW + 2 * DAY)

                sending = asyncio.create_task(send())
                while not await _waits(cleaner):
                    await asyncio.sleep(0.01)
                taking.path(tmp_path, taken.photo.digest).unlink()
            await sending

    on(town, both)
    assert taking.path(tmp_path, taken.photo.digest).exists()


async def _waits(connection: AsyncConnection[Any]) -> bool:
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


def test_contacts_are_forgotten_when_their_matter_is_long_over(town: str) -> None:
    contact = Contact(phone="13800001111")
    over, still_open = report(town, "走了", contact, cell="c09"), report(town, "有人", contact, cell="d00")

    async def close(connection: AsyncConnection[Any]) -> list[int]:
        await connection.execute(
            "UPDATE incidents SET state = 'voided', closed_at = %s WHERE id = %s", (NOW, over.incident_id)
        )
        return [await reports.forget_contacts(connection, NOW + at, 10) for at in (-DAY, DAY, DAY)]

    assert on(town, close) == [0, 1, 0]
    assert rows(town, "SELECT report_id FROM report_contacts") == [(still_open.report_id,)]


def test_an_allowance_refills_steadily_and_its_row_goes_when_it_is_whole(town: str) -> None:
    minute = timedelta(minutes=1)

    async def work(connection: AsyncConnection[Any]) -> list[bool]:
        free = []
        for at in (0, 0, 0, 0, 1, 1, 3, 3, 3):
            wait = await report_rates.take(
                connection, "contact", b"somebody", NOW + at * minute, burst=3, every=minute
            )
            assert wait is None or timedelta(0) < wait <= minute
            free.append(wait is None)
        assert await maintenance.delete_older(connection, "report_rates", NOW + 5 * minute, 10) == 0
        assert await maintenance.delete_older(connection, "report_rates", NOW + 7 * minute, 10) == 1
        return free

    assert on(town, work) == [True, True, True, False, True, False, True, True, False]


def test_two_centres_count_together(town: str) -> None:
    """Twelve at once over twelve connections: three are free."""

    async def take(_: int) -> bool:
        async with await AsyncConnection.connect(town, autocommit=True) as connection:
            minute = timedelta(minutes=1)
            return (
                await report_rates.take(connection, "address", b"flood", NOW, burst=3, every=minute) is None
            )

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(take(number) for number in range(12)))

    assert sum(asyncio.run(all_at_once())) == 3


def test_a_sender_that_tries_again_files_one_report(town: str) -> None:
    made = NewReport(channel="mailbox", text="一封信", cell="c02", actor="user:1", external_id="M-1")

    async def once(_: int) -> intake.Registered:
        async with (
            await AsyncConnection.connect(town, autocommit=True) as connection,
            connection.transaction(),
        ):
            return await intake.register(connection, SETTINGS, made, now=NOW)

    async def together() -> list[intake.Registered]:
        return await asyncio.gather(*(once(number) for number in range(4)))

    done = asyncio.run(together())
    assert len({one.report_id for one in done}) == 1
    assert sorted(one.repeated for one in done) == [False, True, True, True]


def test_thousands_who_follow_one_incident_are_told_at_once_and_once(town: str) -> None:
    first = report(town, "停电", Contact(phone="13800000000", told_by="sms"), cell="c05")

    async def many(connection: AsyncConnection[Any]) -> list[int]:
        await connection.execute(
            """
            WITH more AS (
                INSERT INTO reports (tracking, tracking_digest, channel, received_at, nature, text, place, actor,
                    incident_id, joined)
                SELECT lpad(n::text, 13, '0'), sha256(n::text::bytea), 'web', now(), 'complaint', '停电', 'unknown',
                    'citizen', %s, true FROM generate_series(1, 2000) n RETURNING id
            )
            INSERT INTO report_contacts (report_id, email, told_by) SELECT id, id || '@example.com', 'email' FROM more
            """,
            (first.incident_id,),
        )
        counted = []
        for _ in range(2):
            async with connection.transaction():
                incident = await incidents.lock(connection, first.incident_id or 0)
                assert incident is not None
                filed = replace(incident, state="filed")
                await notices.after_changes(connection, [filed], NOW)
            cursor = await connection.execute(
                "SELECT count(*) FROM notifications WHERE incident_id = %s AND body ->> 'template' = 'filed'",
                (first.incident_id,),
            )
            counted += [row[0] for row in await cursor.fetchall()]
        return counted

    assert on(town, many) == [2001, 2001]
