"""Several centres that follow one database: a screen that lands on another loses and doubles nothing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.following_screen import Screen, until
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm, running
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        yield made


def test_a_screen_that_lands_on_another_centre_loses_and_doubles_nothing(centre: Centre) -> None:
    async def look(other: Centre) -> tuple[Screen, set[int]]:
        screen = await Screen(centre).look()
        raised = []
        for turn in range(6):
            screen.address = (other if turn % 2 else centre).screens
            raised.append(await asyncio.to_thread(raise_alarm, centre, f"D{6 + turn}"))
            async with screen.connect() as socket_:
                await until(screen, socket_, lambda: ("alarm.raised", raised[-1]) in screen.events)
                raised.append(await asyncio.to_thread(raise_alarm, centre, f"D{12 + turn}"))
        async with screen.connect() as socket_:
            await until(screen, socket_, lambda: ("alarm.raised", raised[-1]) in screen.events)
        return screen, set(raised)

    with running(centre.url) as other:
        screen, raised = asyncio.run(look(other))
    shown = {number: n for (kind, number), n in screen.events.items() if kind == "alarm.raised"}
    assert raised <= set(shown)
    assert set(shown.values()) == {1}
    assert screen.snapshots > 5


def test_the_numbers_of_another_database_are_not_believed(centre: Centre) -> None:
    async def look() -> dict[str, Any]:
        screen = Screen(centre)
        screen.change = 10**12
        async with screen.connect() as socket_:
            await screen.take(socket_)
            return await screen.take(socket_)

    snapshot = asyncio.run(look())
    assert (snapshot["t"], snapshot["reset"], snapshot["ev"]) == ("snap", True, [])
    assert snapshot["change"] < 10**12


def test_two_centres_share_one_port(centre: Centre) -> None:
    async def look(first: Centre) -> set[str]:
        epochs: set[str] = set()
        while len(epochs) < 2:  # the kernel decides
            try:
                screen = await Screen(first).look()
            except InvalidStatus as refused:  # the second still reads the district; a screen asks again
                if refused.response.status_code != 503:
                    raise
                await asyncio.sleep(float(refused.response.headers["Retry-After"]) / 10)
                continue
            epochs.add(screen.epoch.split("-")[0])
        return epochs

    with running(centre.url, centres=2) as first, running(centre.url, centres=2, beside=first) as second:
        assert first.base == second.base
        assert len(asyncio.run(look(first))) == 2
